import { type Codec, messageCodec } from "../../grpc/message-codec.ts";
import { containerdMessages, criMessages } from "./schema.ts";

/** The codec for every message in `schema.ts`. */
export function criCodec(): Codec {
  return messageCodec({ ...criMessages, ...containerdMessages });
}
