/** What a watch has told us so far. Only a complete view may delete. */
export type View<T> =
  | { readonly state: "listing" }
  | { readonly state: "complete"; readonly all: ReadonlyMap<string, T> };
