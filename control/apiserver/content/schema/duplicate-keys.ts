const maxFindings = 100;

/**
 * The paths of keys that stand twice in one object, in order of appearance.
 * @param source valid JSON: it is scanned, not checked.
 */
export function duplicateJsonKeys(source: string): readonly string[] {
  const found: string[] = [];
  let at = 0;
  const value = (path: string): void => {
    space();
    if (source[at] === "{") object(path);
    else if (source[at] === "[") array(path);
    else if (source[at] === '"') string();
    else while (at < source.length && !",]} \t\r\n".includes(source[at] ?? ",")) at += 1;
    space();
  };
  const object = (path: string): void => {
    const seen = new Set<string>();
    at += 1;
    for (space(); source[at] !== "}" && at < source.length; space()) {
      const key = string();
      const here = path === "" ? key : `${path}.${key}`;
      if (seen.has(key) && found.length < maxFindings) found.push(here);
      seen.add(key);
      space();
      at += 1; // the colon
      value(here);
      if (source[at] === ",") at += 1;
    }
    at += 1;
  };
  const array = (path: string): void => {
    at += 1;
    let index = 0;
    for (space(); source[at] !== "]" && at < source.length; index += 1) {
      value(`${path}[${index}]`);
      if (source[at] === ",") at += 1;
      space();
    }
    at += 1;
  };
  const string = (): string => {
    const start = at;
    at += 1;
    while (at < source.length && source[at] !== '"') at += source[at] === "\\" ? 2 : 1;
    at += 1;
    const quoted = source.slice(start, at);
    return quoted.includes("\\") ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
  };
  const space = (): void => {
    while (" \t\r\n".includes(source[at] ?? "x")) at += 1;
  };
  value("");
  return [...new Set(found)];
}
