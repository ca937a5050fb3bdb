/**
 * ApiError            the gateway answered with an error body; `status` is HTTP
 * └─ Unauthorised     401: the key is missing, wrong or revoked
 * Unreachable         no answer: the gateway is stopped or the network is gone
 */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
  ) {
    super(message);
  }
}

export class Unauthorised extends ApiError {}

export class Unreachable extends Error {
  constructor() {
    super("The gateway does not answer. Check that Loopyard is running, then try again.");
  }
}

interface ErrorBody {
  error?: { message?: unknown; code?: unknown; type?: unknown };
  detail?: unknown;
}

/** Reads `{"error": {"message", "type", "param", "code"}}`; a body of another shape gives a plain sentence. */
export function errorFrom(status: number, text: string): ApiError {
  let body: ErrorBody = {};
  try {
    body = JSON.parse(text) as ErrorBody;
  } catch {
    // A proxy's HTML page: its text says nothing to the reader.
  }
  const message =
    typeof body.error?.message === "string"
      ? body.error.message
      : typeof body.detail === "string"
        ? body.detail
        : `The gateway answered ${status}.`;
  const code = String(body.error?.code ?? body.error?.type ?? status);
  return status === 401 ? new Unauthorised(message, status, code) : new ApiError(message, status, code);
}

/** The sentence to show for anything that was thrown. */
export function sentence(problem: unknown): string {
  return problem instanceof Error ? problem.message : String(problem);
}
