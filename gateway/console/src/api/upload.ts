import { errorFrom, Unreachable } from "./errors";
import type { ProjectDocument } from "./types";

/** Called with the share of the file's bytes that has left, 0 to 1. */
export type UploadProgress = (share: number) => void;

/** Sends one file. XMLHttpRequest and not fetch, because only it reports how much has been sent. */
export function upload<T = ProjectDocument>(
  url: string,
  key: string,
  file: File,
  onProgress: UploadProgress,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(new DOMException("Upload stopped", "AbortError"));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) {
        resolve(JSON.parse(request.responseText) as T);
      } else {
        reject(errorFrom(request.status, request.responseText));
      }
    };
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file, file.name);
    request.send(form);
  });
}
