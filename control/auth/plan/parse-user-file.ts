import type { User } from "../../model.ts";

/** One line of a token or password file. */
export interface UserLine {
  /** The token, or the password. */
  readonly secret: string;
  readonly user: User;
}

/**
 * Reads upstream's user files: `secret,user,uid` and perhaps `,"group1,group2"`, one user a line.
 * @throws Error that names the line.
 */
export function parseUserFile(text: string): readonly UserLine[] {
  const users: UserLine[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const [secret = "", name = "", uid = "", groups = ""] = splitCsv(line);
    if (secret === "" || name === "") {
      throw new Error(
        `line ${index + 1} has no secret or no user name; want secret,user,uid,"group1,group2"`,
      );
    }
    const user: User = {
      name,
      groups: groups.split(",").flatMap((group) => (group.trim() === "" ? [] : [group.trim()])),
      ...(uid === "" ? {} : { uid }),
    };
    users.push({ secret, user });
  }
  return users;
}

/** One record of RFC 4180: fields between commas, quotes around a field that has commas in it. */
function splitCsv(line: string): string[] {
  const fields: string[] = [];
  for (const [, quoted, plain] of line.matchAll(/(?:^|,)(?:\s*"((?:[^"]|"")*)"\s*|([^,]*))/g)) {
    fields.push(quoted === undefined ? (plain ?? "").trim() : quoted.replaceAll('""', '"'));
  }
  return fields;
}
