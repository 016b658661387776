/**
 * Replaces `$(NAME)` by the value of NAME; `$$(NAME)` stays as the text `$(NAME)`, and a name nobody knows stays as it is.
 * @see Kubernetes, "dependent environment variables".
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(/\$\$|\$\(([^()]*)\)/g, (whole, name: string | undefined) => {
    if (name === undefined) return "$";
    return lookup(name) ?? whole;
  });
}
