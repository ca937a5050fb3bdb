import type { Version } from "../api/models";

export interface Node {
  version: Version;
  /** Place in time, and the row of its branch. */
  column: number;
  lane: number;
}

export interface Family {
  nodes: Node[];
  /** From a version to one that was trained on from it. */
  edges: [Node, Node][];
  lanes: number;
}

/** Versions as a tree that grows with time: the first heir stays in its parent's row, each further one opens a row. */
export function familyOf(versions: Version[]): Family {
  const sorted = parentsFirst(versions);
  const nodes = new Map<string, Node>();
  const taken = new Set<Node>();
  const edges: [Node, Node][] = [];
  let lanes = 0;
  sorted.forEach((version, column) => {
    const parent = version.parent === null ? undefined : nodes.get(version.parent);
    const follows = parent !== undefined && !taken.has(parent);
    const node: Node = { version, column, lane: follows ? parent.lane : lanes++ };
    if (parent) {
      taken.add(parent);
      edges.push([parent, node]);
    }
    nodes.set(version.digest, node);
  });
  return { nodes: [...nodes.values()], edges, lanes };
}

/** By time; a parent before its heirs even where both were written in the same second. */
function parentsFirst(versions: Version[]): Version[] {
  const byTime = [...versions].sort((one, other) => one.created_at.localeCompare(other.created_at));
  const known = new Map(byTime.map((version) => [version.digest, version]));
  const found = new Set<Version>();
  for (const version of byTime) {
    const line: Version[] = [];
    for (let at: Version | undefined = version; at && !found.has(at) && !line.includes(at); at = known.get(at.parent ?? "")) line.push(at);
    for (const one of line.reverse()) found.add(one);
  }
  return [...found];
}
