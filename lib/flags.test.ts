import t from "tap";
import {
  bool,
  duration,
  type Flags,
  integer,
  list,
  oneOf,
  parseFlags,
  port,
  renderFlags,
  text,
  UsageError,
} from "./flags.ts";

interface Config {
  readonly name: string;
  readonly waitMs: number;
  readonly mode: "a" | "b";
  readonly loud: boolean;
}
const flags: Flags<Config> = {
  name: { flag: "node-name", parse: text, help: "this node's name" },
  waitMs: { flag: "wait", parse: duration, default: "1s", help: "how long to wait" },
  mode: { flag: "mode", parse: oneOf("a", "b"), default: "a", help: "which way" },
  loud: { flag: "loud", parse: bool, switch: true, default: "false", help: "say more" },
};
const parse = (...args: string[]): Config => parseFlags("keelson test", flags, args);

t.test("values, defaults and switches are read", async (t) => {
  t.same(parse("--node-name=n1"), { name: "n1", waitMs: 1_000, mode: "a", loud: false });
  t.same(parse("--node-name", "n1", "--loud", "--wait", "1m30s"), {
    name: "n1",
    waitMs: 90_000,
    mode: "a",
    loud: true,
  });
  t.equal(parse("--node-name", "n1", "--loud=true").loud, true);
  t.equal(parse("--node-name", "n1", "--no-loud").loud, false);
});
t.test("one dash before a long flag is understood, as flannel's flags are written", async (t) => {
  t.equal(parse("-node-name=n1").name, "n1");
});
t.test("a variable stands in for a flag, and the flag wins", async (t) => {
  const env = { prefix: "FLANNELD_", variables: { FLANNELD_NODE_NAME: "from-env", FLANNELD_MODE: "b" } };
  t.match(parseFlags("keelson test", flags, [], env), { name: "from-env", mode: "b" });
  t.equal(parseFlags("keelson test", flags, ["--mode", "a"], env).mode, "a");
});
const bad = [
  {
    name: "an unknown flag",
    args: ["--node-name=n", "--colour=red"],
    message: /unknown flag --colour; see keelson test --help/,
  },
  { name: "a missing required flag", args: [], message: /--node-name is missing; it says this node's name/ },
  {
    name: "a value of the wrong kind",
    args: ["--node-name=n", "--mode=c"],
    message: /--mode="c": want one of "a", "b"/,
  },
  { name: "a duration without a unit", args: ["--node-name=n", "--wait=5"], message: /want a duration/ },
  { name: "a word too many", args: ["--node-name=n", "extra"], message: /"extra" is one word too many/ },
  { name: "a flag without its value", args: ["--node-name"], message: /--node-name needs a value/ },
];
for (const { name, args, message } of bad) {
  t.test(`${name} is refused`, async (t) => {
    t.throws(() => parse(...args), UsageError);
    t.throws(() => parse(...args), message);
  });
}
t.test("help shows every flag with its default", async (t) => {
  t.match(renderFlags(flags), /--node-name VALUE +this node's name \(required\)/);
  t.match(renderFlags(flags), /--wait VALUE +how long to wait \(default 1s\)/);
});
t.test("parsers refuse what they do not mean", async (t) => {
  t.throws(() => port("65536"));
  t.throws(() => integer("-1"));
  t.throws(() => bool("yes"));
  t.same(list("a, b,c"), ["a", "b", "c"]);
  t.same(list(""), []);
});
