/** Structures that a program in the kernel and this process both read: fields with their place, defined once. */

/** Bytes of a field: a number, or several values of that many bytes each. */
type Field = number | readonly [bytes: number, count: number];

export interface Structure<Name extends string> {
  /** Where each field begins. */
  readonly at: Readonly<Record<Name, number>>;
  readonly bytes: number;
}

/**
 * Lay fields out one after the other, without gaps.
 * @throws RangeError when a field does not lie on a multiple of its size (8 at most), or the whole is no multiple of 4
 */
export function structure<Name extends string>(
  name: string,
  fields: Readonly<Record<Name, Field>>,
): Structure<Name> {
  const at = {} as Record<Name, number>;
  let bytes = 0;
  for (const [field, size] of Object.entries(fields) as [Name, Field][]) {
    const [unit, count] = typeof size === "number" ? [size, 1] : size;
    if (bytes % Math.min(unit, 8) !== 0)
      throw new RangeError(`Cannot lay out ${name}: ${field} of ${unit} bytes would begin at ${bytes}`);
    at[field] = bytes;
    bytes += unit * count;
  }
  if (bytes % 4 !== 0) throw new RangeError(`Cannot lay out ${name}: ${bytes} bytes are no multiple of 4`);
  return { at, bytes };
}
