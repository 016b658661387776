import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import type { User } from "../model.ts";
import { known, type TokenAuthenticator } from "./authenticator.ts";
import { parseUserFile, type UserLine } from "./plan/parse-user-file.ts";

/** Reads `--token-auth-file` once; a change needs a restart, as upstream. */
export function tokenFileAuthenticator(file: string): TokenAuthenticator {
  const users = new Map(readUsers(file).map(({ secret, user }) => [digest(secret), user]));
  return (token) => {
    const user = users.get(digest(token));
    return Promise.resolve(user === undefined ? undefined : known(user));
  };
}

/** Reads `--basic-auth-file` (`password,user,uid,"groups"`) once. */
export function basicFileAuthenticator(file: string): (name: string, password: string) => User | undefined {
  const users = new Map(readUsers(file).map((line) => [line.user.name, line]));
  return (name, password) => {
    const line = users.get(name);
    if (line === undefined) return undefined;
    return timingSafeEqual(hash(password), hash(line.secret)) ? line.user : undefined;
  };
}

function readUsers(file: string): readonly UserLine[] {
  try {
    return parseUserFile(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new Error(`cannot read the users in "${file}"; check the file and the flag that names it`, {
      cause,
    });
  }
}

/** Looked up by digest, so that the time of a lookup says nothing about how much of a guess was right. */
const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
const digest = (text: string): string => hash(text).toString("base64");
