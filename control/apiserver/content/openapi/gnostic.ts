import { isJson, type Json, list, record, text } from "../json.ts";
import { bytesField, textField, truthField } from "./wire-writer.ts";

type Encoded = readonly Uint8Array[];

/**
 * An OpenAPI 2 document as gnostic's `openapi.v2.Document` protobuf. Only what Kubernetes' documents use
 * is encoded; the numbers are those of gnostic's OpenAPIv2.proto.
 */
export function encodeDocument(document: Json): Uint8Array {
  const info = record(document["info"]);
  return Buffer.concat([
    textField(1, text(document["swagger"])),
    bytesField(2, [textField(1, text(info["title"])), textField(2, text(info["version"]))]),
    bytesField(8, named(2, document["paths"], pathItem)),
    bytesField(9, named(1, document["definitions"], schema)),
  ]);
}

/** gnostic writes maps as lists of named values. */
function named(number: number, of: unknown, encode: (value: Json) => Encoded): Encoded {
  return Object.entries(record(of)).map(([name, value]) =>
    bytesField(number, [textField(1, name), bytesField(2, encode(record(value)))]),
  );
}

const methods: readonly (readonly [string, number])[] = [
  ["get", 2],
  ["put", 3],
  ["post", 4],
  ["delete", 5],
  ["patch", 8],
];

function pathItem(item: Json): Encoded {
  return [
    ...methods.flatMap(([method, number]) =>
      isJson(item[method]) ? [bytesField(number, operation(item[method]))] : [],
    ),
    ...list(item["parameters"]).map((each) => bytesField(9, parameter(record(each)))),
  ];
}

function operation(of: Json): Encoded {
  return [
    textField(5, text(of["operationId"])),
    ...list(of["produces"]).map((each) => textField(6, text(each))),
    ...list(of["consumes"]).map((each) => textField(7, text(each))),
    ...list(of["parameters"]).map((each) => bytesField(8, parameter(record(each)))),
    bytesField(9, named(1, of["responses"], response)),
    ...extensions(of, 13),
  ];
}

/** ParametersItem > Parameter > body, query or path parameter. */
function parameter(of: Json): Encoded {
  const name = text(of["name"]);
  const required = of["required"] === true;
  if (of["in"] === "body") {
    const body = [
      textField(2, name),
      textField(3, "body"),
      truthField(4, required),
      bytesField(5, schema(record(of["schema"]))),
    ];
    return [bytesField(1, [bytesField(1, body)])];
  }
  const plain = [
    truthField(1, required),
    textField(2, text(of["in"])),
    textField(4, name),
    // The path form has no allowEmptyValue, so its type stands one number lower.
    textField(of["in"] === "path" ? 5 : 6, text(of["type"])),
  ];
  return [bytesField(1, [bytesField(2, [bytesField(of["in"] === "path" ? 4 : 3, plain)])])];
}

/** ResponseValue > Response > SchemaItem > Schema. */
function response(of: Json): Encoded {
  const inner = isJson(of["schema"]) ? [bytesField(2, [bytesField(1, schema(of["schema"]))])] : [];
  return [bytesField(1, [textField(1, text(of["description"])), ...inner])];
}

function schema(of: Json): Encoded {
  return [
    textField(1, text(of["$ref"])),
    textField(2, text(of["format"])),
    textField(4, text(of["description"])),
    ...list(of["required"]).map((each) => textField(19, text(each))),
    ...(isJson(of["additionalProperties"])
      ? [bytesField(21, [bytesField(1, schema(of["additionalProperties"]))])]
      : []),
    ...(typeof of["type"] === "string" ? [bytesField(22, [textField(1, of["type"])])] : []),
    ...(isJson(of["items"]) ? [bytesField(23, [bytesField(1, schema(of["items"]))])] : []),
    ...(isJson(of["properties"]) ? [bytesField(25, named(1, of["properties"], schema))] : []),
    ...extensions(of, 31),
  ];
}

/** `x-...` members as NamedAny with their value in YAML, of which JSON is a part. */
function extensions(of: Json, number: number): Encoded {
  return Object.entries(of)
    .filter(([key]) => key.startsWith("x-"))
    .map(([key, value]) =>
      bytesField(number, [textField(1, key), bytesField(2, [textField(2, JSON.stringify(value))])]),
    );
}
