/** The default branch of an exhaustive switch: adding a case to the union makes this call fail to compile. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${String(value)}`);
}
