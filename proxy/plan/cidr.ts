import { BlockList, isIP } from "node:net";

/** True when the address lies in the range; false also when either is malformed or the families differ. */
export function isInCidr(ip: string, cidr: string): boolean {
  const [base = "", length = ""] = cidr.split("/");
  const family = isIP(base);
  const prefix = length === "" ? (family === 4 ? 32 : 128) : Number(length);
  if (family === 0 || isIP(ip) !== family || !(prefix >= 0 && prefix <= (family === 4 ? 32 : 128)))
    return false;
  const list = new BlockList();
  list.addSubnet(base, prefix, `ipv${family === 4 ? 4 : 6}`);
  return list.check(ip, `ipv${family === 4 ? 4 : 6}`);
}
