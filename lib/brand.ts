declare const brand: unique symbol;

/**
 * A value that only its parser makes: `Brand<string, "Cidr">` cannot be given where `Brand<string, "Ip">`
 * is asked for, nor can a plain string. The one cast stands in the parser.
 */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
