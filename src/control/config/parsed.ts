/** Outcome of reading one value: it, or what would have been right (a phrase that follows "wanted"). */
export type Parsed<T> = { readonly value: T } | { readonly wanted: string };
