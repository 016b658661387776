import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";

/** What a JWT's three parts say, once its signature was found good. */
export type VerifiedToken =
  | { readonly state: "good"; readonly payload: unknown }
  | { readonly state: "bad-signature" }
  /** Not a JWT, or signed with a key that is not ours. */
  | { readonly state: "foreign" };

/** Signs and verifies ServiceAccount tokens: ES256 (RFC 7518 §3.4) with the key of `sa.key`. */
export class TokenKey {
  readonly #private: KeyObject;
  readonly #public: KeyObject;
  /** Hash of the public key: tells our tokens from others'. */
  readonly id: string;

  /** @param pem the private key, P-256. */
  constructor(pem: string) {
    this.#private = createPrivateKey(pem);
    this.#public = createPublicKey(this.#private);
    const der = this.#public.export({ type: "spki", format: "der" });
    this.id = createHash("sha256").update(der).digest("base64url");
  }

  sign(payload: object): string {
    const head = encode({ alg: "ES256", kid: this.id });
    const signed = `${head}.${encode(payload)}`;
    const signature = sign("sha256", Buffer.from(signed), {
      key: this.#private,
      dsaEncoding: "ieee-p1363",
    });
    return `${signed}.${signature.toString("base64url")}`;
  }

  verify(token: string): VerifiedToken {
    const [head = "", payload = "", signature = "", ...rest] = token.split(".");
    const header = decode(head);
    if (rest.length > 0 || header?.["kid"] !== this.id || header["alg"] !== "ES256")
      return { state: "foreign" };
    const good = verify(
      "sha256",
      Buffer.from(`${head}.${payload}`),
      { key: this.#public, dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64url"),
    );
    return good ? { state: "good", payload: decode(payload) } : { state: "bad-signature" };
  }

  /** What `/openid/v1/jwks` answers (RFC 7517). */
  get jwks(): object {
    return { keys: [{ ...this.#public.export({ format: "jwk" }), use: "sig", alg: "ES256", kid: this.id }] };
  }
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

function decode(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined; // not a JWT: perhaps a static token
  }
}
