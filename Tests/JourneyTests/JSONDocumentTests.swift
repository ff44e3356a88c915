import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import NIOCore
import Testing

/// Documents of every kind, each with what comes of it: where a body is refused, at which byte and why; where it is taken, what it means.
@Suite struct `A JSON document` {
  /// Swift has no literals for them.
  private let noncharacters = String(decoding: [0xFDD0, 0xFFFE, 0xFFFF] as [UInt16], as: UTF16.self)

  @Test func `in another encoding than UTF-8 is refused`() async throws {
    let text = #"{"email":"a@b.co"}"#
    let marked = "\u{FEFF}" + text
    try await expect([
      Case("UTF-16, little-endian, marked", bytes(of: marked.utf16.map(\.littleEndian)), "the text is not UTF-8", 0),
      Case("UTF-16, big-endian, marked", bytes(of: marked.utf16.map(\.bigEndian)), "the text is not UTF-8", 0),
      Case("UTF-32, little-endian, marked", bytes(of: marked.unicodeScalars.map(\.value.littleEndian)), "the text is not UTF-8", 0),
      Case("UTF-32, big-endian, marked", bytes(of: marked.unicodeScalars.map(\.value.bigEndian)), "the text is not UTF-8", 2),
      // Without a mark it is UTF-8, with a NUL beside each character.
      Case("UTF-16, little-endian", bytes(of: text.utf16.map(\.littleEndian)), "a member's name is expected", 1),
      Case("UTF-16, big-endian", bytes(of: text.utf16.map(\.bigEndian)), "a value is expected", 0),
      Case("UTF-32, little-endian", bytes(of: text.unicodeScalars.map(\.value.littleEndian)), "a member's name is expected", 1),
      Case("UTF-32, big-endian", bytes(of: text.unicodeScalars.map(\.value.bigEndian)), "a value is expected", 0),
    ])
  }

  @Test func `with bytes that are not UTF-8 is refused, wherever they stand`() async throws {
    let faults: [(String, [UInt8])] = [
      ("a lone continuation byte", [0x80]),
      ("the last continuation byte, alone", [0xBF]),
      ("a continuation byte too many", [0xC3, 0xA9, 0xA9]),
      ("Latin-1", [0xE9]),
      ("one byte of two", [0xC3]),
      ("two bytes of three", [0xE2, 0x82]),
      ("three bytes of four", [0xF0, 0x9F, 0x98]),
      ("a first byte twice", [0xC3, 0xC3, 0xA9]),
      ("NUL in two bytes", [0xC0, 0x80]),
      ("a quotation mark in two bytes", [0xC0, 0xA2]),
      ("U+007F in two bytes", [0xC1, 0xBF]),
      ("a solidus in three bytes", [0xE0, 0x80, 0xAF]),
      ("U+07FF in three bytes", [0xE0, 0x9F, 0xBF]),
      ("U+FFFF in four bytes", [0xF0, 0x8F, 0xBF, 0xBF]),
      ("the first surrogate", [0xED, 0xA0, 0x80]),
      ("the last surrogate", [0xED, 0xBF, 0xBF]),
      ("a surrogate pair", [0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]),
      ("U+110000", [0xF4, 0x90, 0x80, 0x80]),
      ("U+140000", [0xF5, 0x80, 0x80, 0x80]),
      ("five bytes", [0xF8, 0x88, 0x80, 0x80, 0x80]),
      ("six bytes", [0xFC, 0x84, 0x80, 0x80, 0x80, 0x80]),
      ("0xFE", [0xFE]),
      ("0xFF", [0xFF]),
    ]
    func refused(_ name: String, _ before: String, _ fault: [UInt8], _ after: String) -> Case {
      // In one of them a character comes first that is one.
      let start = before.utf8.count + (fault == [0xC3, 0xA9, 0xA9] ? 2 : 0)
      return Case(name, Array(before.utf8) + fault + Array(after.utf8), "the text is not UTF-8", start)
    }
    try await expect(
      faults.map { refused($0.0, #"{"email":"a"#, $0.1, #"@b.co"}"#) } + [
        refused("in a name", #"{"a"#, [0xFF], #"":1,"email":"a@b.co"}"#),
        refused("in a member that is ignored", #"{"email":"a@b.co","x":""#, [0xE9], #""}"#),
        refused("in an escape", #"{"email":"\"#, [0xFF], #""}"#),
        refused("between members", #"{"email":"a@b.co""#, [0xFF], "}"),
        refused("behind the document", #"{"email":"a@b.co"}"#, [0x80], ""),
        refused("at the end, cut short", #"{"email":"a"#, [0xC3], ""),
        refused("alone", "", [0xE9], ""),
      ])
  }

  @Test func `that is empty, or has other white space than JSON's, is refused`() async throws {
    try await expect([
      Case("nothing", "", "unexpected end: a value is missing", 0),
      Case("a blank", " ", "unexpected end: a value is missing", 1),
      Case("white space", " \t\r\n", "unexpected end: a value is missing", 4),
      Case("a NUL", "\0", "a value is expected", 0),
      Case("a byte order mark", "\u{FEFF}", "a value is expected", 0),
      Case("a byte order mark in front", #"\#u{FEFF}{"email":"a@b.co"}"#, "a value is expected", 0),
      Case("a byte order mark before a name", #"{\#u{FEFF}"email":"a@b.co"}"#, "a member's name is expected", 1),
      Case("a byte order mark before a value", #"{"email":\#u{FEFF}"a@b.co"}"#, "a value is expected", 9),
      Case("a byte order mark behind", #"{"email":"a@b.co"}\#u{FEFF}"#, "unexpected text after the value", 18),
      Case("a form feed", #"{\#u{C}"email":"a@b.co"}"#, "a member's name is expected", 1),
      Case("a vertical tab", #"{"email":\#u{B}"a@b.co"}"#, "a value is expected", 9),
      Case("a backspace", #"{"email":"a@b.co"}\#u{8}"#, "unexpected text after the value", 18),
      Case("a unit separator", #"{"email":\#u{1F}"a@b.co"}"#, "a value is expected", 9),
      Case("an end-of-file character", #"{"email":"a@b.co"}\#u{1A}"#, "unexpected text after the value", 18),
      Case("a delete character", #"{"email":"a@b.co"\#u{7F}}"#, "a comma or a closing brace is expected", 17),
      Case("a next-line character", #"{"email":"a@b.co"\#u{85}}"#, "a comma or a closing brace is expected", 17),
      Case("a no-break space", #"{"email"\#u{A0}:"a@b.co"}"#, "a colon is expected", 8),
      Case("an Ogham space", #"\#u{1680}{"email":"a@b.co"}"#, "a value is expected", 0),
      Case("a zero-width space", #"{"email":"a@b.co"\#u{200B}}"#, "a comma or a closing brace is expected", 17),
      Case("a line separator", #"{"email":"a@b.co",\#u{2028}"x":1}"#, "a member's name is expected", 18),
      Case("an ideographic space", #"{"email":"a@b.co"}\#u{3000}"#, "unexpected text after the value", 18),
      Case("a NUL before a value", #"{"email":\#0"a@b.co"}"#, "a value is expected", 9),
      Case("a NUL behind", #"{"email":"a@b.co"}\#0"#, "unexpected text after the value", 18),
      Case("an escaped line feed", #"{\n"email":"a@b.co"}"#, "a member's name is expected", 1),
    ])
  }

  @Test func `that is no object is refused`() async throws {
    try await expect([
      Case("an empty array", "[]", .malformed("The body must be a JSON object.")),
      Case("an array of objects", #"[{"email":"a@b.co"}]"#, .malformed("The body must be a JSON object.")),
      Case("an array of a name and a value", #"["email","a@b.co"]"#, .malformed("The body must be a JSON object.")),
      Case("an empty string", #""""#, .malformed("The body must be a JSON object.")),
      Case("a string that holds a document", #""{\"email\":\"a@b.co\"}""#, .malformed("The body must be a JSON object.")),
      Case("an integer", "42", .malformed("The body must be a JSON object.")),
      Case("a negative zero", "-0", .malformed("The body must be a JSON object.")),
      Case("a real number", "1.5e3", .malformed("The body must be a JSON object.")),
      Case("null", "null", .malformed("The body must be a JSON object.")),
      Case("true", "true", .malformed("The body must be a JSON object.")),
      Case("false", "false", .malformed("The body must be a JSON object.")),
      Case("null among blanks", " null ", .malformed("The body must be a JSON object.")),
      Case("an address", "a@b.co", "a value is expected", 0),
      Case("a form", "email=a%40b.co", "a value is expected", 0),
      Case("XML", "<email>a@b.co</email>", "a value is expected", 0),
      Case("YAML", "email: a@b.co", "a value is expected", 0),
      Case("YAML with a start", "---\nemail: a@b.co", "a digit is expected", 1),
      Case("a document in percent-encoding", "%7B%22email%22%3A%22a%40b.co%22%7D", "a value is expected", 0),
      Case("a member without braces", #""email":"a@b.co""#, "unexpected text after the value", 7),
      Case("a JSON text sequence", #"\#u{1E}{"email":"a@b.co"}\#n"#, "a value is expected", 0),
      Case("a guarded reply", #")]}',\#n{"email":"a@b.co"}"#, "a value is expected", 0),
      Case("a call", #"f({"email":"a@b.co"})"#, "a value is expected", 0),
      Case("a chunk with its size", #"12\#r\#n{"email":"a@b.co"}"#, "unexpected text after the value", 4),
    ])
  }

  @Test func `with a fault in an object is refused at the fault`() async throws {
    try await expect([
      Case("a closing brace", "}", "a value is expected", 0),
      Case("two closing braces", #"{"email":"a@b.co"}}"#, "unexpected text after the value", 18),
      Case("two opening braces", #"{{"email":"a@b.co"}"#, "a member's name is expected", 1),
      Case("an object in braces", #"{{"email":"a@b.co"}}"#, "a member's name is expected", 1),
      Case("a bracket for the closing brace", #"{"email":"a@b.co"]"#, "a comma or a closing brace is expected", 17),
      Case("parentheses for braces", #"("email":"a@b.co")"#, "a value is expected", 0),
      Case("full-width braces", #"｛"email":"a@b.co"｝"#, "a value is expected", 0),
      Case("a trailing comma", #"{"email":"a@b.co",}"#, "a member's name is expected", 18),
      Case("a trailing comma among blanks", #"{"email":"a@b.co" , }"#, "a member's name is expected", 20),
      Case("a leading comma", #"{,"email":"a@b.co"}"#, "a member's name is expected", 1),
      Case("only a comma", "{,}", "a member's name is expected", 1),
      Case("two commas", #"{"email":"a@b.co",,"x":1}"#, "a member's name is expected", 18),
      Case("no comma", #"{"email":"a@b.co""x":1}"#, "a comma or a closing brace is expected", 17),
      Case("a line feed for a comma", #"{"email":"a@b.co"\#n"x":1}"#, "a comma or a closing brace is expected", 18),
      Case("a semicolon for a comma", #"{"email":"a@b.co";"x":1}"#, "a comma or a closing brace is expected", 17),
      Case("no colon", #"{"email" "a@b.co"}"#, "a colon is expected", 9),
      Case("an equals sign for a colon", #"{"email"="a@b.co"}"#, "a colon is expected", 8),
      Case("a comma for a colon", #"{"email","a@b.co"}"#, "a colon is expected", 8),
      Case("a full-width colon", #"{"email"："a@b.co"}"#, "a colon is expected", 8),
      Case("two colons", #"{"email"::"a@b.co"}"#, "a value is expected", 9),
      Case("only a colon", "{:}", "a member's name is expected", 1),
      Case("no name", #"{:"a@b.co"}"#, "a member's name is expected", 1),
      Case("only a name", #"{"email"}"#, "a colon is expected", 8),
      Case("no value", #"{"email":}"#, "a value is expected", 9),
      Case("no value before a comma", #"{"email":,"x":1}"#, "a value is expected", 9),
      Case("a value alone", #"{"email":"a@b.co","b@b.co"}"#, "a colon is expected", 26),
      Case("two values", #"{"email":"a@b.co" "b@b.co"}"#, "a comma or a closing brace is expected", 18),
      Case("a sum of strings", #"{"email":"a@"+"b.co"}"#, "a comma or a closing brace is expected", 13),
      Case("a name without quotes", #"{email:"a@b.co"}"#, "a member's name is expected", 1),
      Case("a value without quotes", #"{"email":a@b.co}"#, "a value is expected", 9),
      Case("a name in single quotes", #"{'email':"a@b.co"}"#, "a member's name is expected", 1),
      Case("a value in single quotes", #"{"email":'a@b.co'}"#, "a value is expected", 9),
      Case("a value in backticks", #"{"email":`a@b.co`}"#, "a value is expected", 9),
      Case("a name in curly quotes", #"{“email”:"a@b.co"}"#, "a member's name is expected", 1),
      Case("escaped quotes", #"{\"email\":\"a@b.co\"}"#, "a member's name is expected", 1),
      Case("a number for a name", #"{1:"a@b.co"}"#, "a member's name is expected", 1),
      Case("null for a name", #"{null:"a@b.co"}"#, "a member's name is expected", 1),
      Case("an array for a name", #"{["email"]:"a@b.co"}"#, "a member's name is expected", 1),
    ])
  }

  @Test func `with a fault in an array is refused at the fault`() async throws {
    try await expect([
      Case("a trailing comma", #"{"x":[1,]}"#, "a value is expected", 8),
      Case("a leading comma", #"{"x":[,1]}"#, "a value is expected", 6),
      Case("only a comma", #"{"x":[,]}"#, "a value is expected", 6),
      Case("two commas", #"{"x":[1,,2]}"#, "a value is expected", 8),
      Case("no comma", #"{"x":[1 2]}"#, "a comma or a closing bracket is expected", 8),
      Case("a semicolon for a comma", #"{"x":[1;2]}"#, "a comma or a closing bracket is expected", 7),
      Case("a member", #"{"x":["y":1]}"#, "a comma or a closing bracket is expected", 9),
      Case("a closing bracket", #"{"x":]}"#, "a value is expected", 5),
      Case("two closing brackets", #"{"x":[1]]}"#, "a comma or a closing brace is expected", 8),
      Case("no closing bracket", #"{"x":[1}"#, "a comma or a closing bracket is expected", 7),
      Case("a brace for the closing bracket", #"{"x":[}"#, "a value is expected", 6),
      Case("parentheses for brackets", #"{"x":(1)}"#, "a value is expected", 5),
      Case("a word without quotes", #"{"x":[a]}"#, "a value is expected", 6),
    ])
  }

  @Test func `with a comment is refused`() async throws {
    try await expect([
      Case("in front", #"/* x */{"email":"a@b.co"}"#, "a value is expected", 0),
      Case("before a name", #"{/* x */"email":"a@b.co"}"#, "a member's name is expected", 1),
      Case("before a colon", #"{"email"/**/:"a@b.co"}"#, "a colon is expected", 8),
      Case("before a value", #"{"email":/* x */"a@b.co"}"#, "a value is expected", 9),
      Case("behind a value", #"{"email":"a@b.co"/* x */}"#, "a comma or a closing brace is expected", 17),
      Case("behind", #"{"email":"a@b.co"}/* x */"#, "unexpected text after the value", 18),
      Case("to the end of the line", #"{"email":"a@b.co" // x\#n}"#, "a comma or a closing brace is expected", 18),
      Case("with a number sign", #"# x\#n{"email":"a@b.co"}"#, "a value is expected", 0),
      Case("of SQL", #"{"email":"a@b.co" -- x\#n}"#, "a comma or a closing brace is expected", 18),
      Case("of HTML", #"<!-- x -->{"email":"a@b.co"}"#, "a value is expected", 0),
    ])
  }

  @Test func `with anything behind it is refused`() async throws {
    try await expect([
      Case("a letter", #"{"email":"a@b.co"}x"#, "unexpected text after the value", 18),
      Case("a comma", #"{"email":"a@b.co"},"#, "unexpected text after the value", 18),
      Case("a semicolon", #"{"email":"a@b.co"};"#, "unexpected text after the value", 18),
      Case("a quote", #"{"email":"a@b.co"}""#, "unexpected text after the value", 18),
      Case("a bracket", #"{"email":"a@b.co"}]"#, "unexpected text after the value", 18),
      Case("an empty object", #"{"email":"a@b.co"}{}"#, "unexpected text after the value", 18),
      Case("null", #"{"email":"a@b.co"} null"#, "unexpected text after the value", 19),
      Case("a second document", #"{"email":"a@b.co"}{"email":"b@b.co"}"#, "unexpected text after the value", 18),
      Case("a second line", #"{"email":"a@b.co"}\#n{"email":"b@b.co"}\#n"#, "unexpected text after the value", 19),
      Case("a member of a form", #"{"email":"a@b.co"}&x=1"#, "unexpected text after the value", 18),
      Case("a value behind an array", "[] []", "unexpected text after the value", 3),
    ])
  }

  @Test func `with a number that JSON does not know is refused`() async throws {
    try await expect([
      Case("a leading zero", #"{"x":01}"#, "a comma or a closing brace is expected", 6),
      Case("two zeros", #"{"x":00}"#, "a comma or a closing brace is expected", 6),
      Case("a negative leading zero", #"{"x":-01}"#, "a comma or a closing brace is expected", 7),
      Case("a plus", #"{"x":+1}"#, "a value is expected", 5),
      Case("a minus alone", #"{"x":-}"#, "a digit is expected", 6),
      Case("two minuses", #"{"x":--1}"#, "a digit is expected", 6),
      Case("a minus and a blank", #"{"x":- 1}"#, "a digit is expected", 6),
      Case("a typographic minus", #"{"x":−1}"#, "a value is expected", 5),
      Case("no digit before the point", #"{"x":.5}"#, "a value is expected", 5),
      Case("a minus before the point", #"{"x":-.5}"#, "a digit is expected", 6),
      Case("no digit behind the point", #"{"x":5.}"#, "a digit is expected", 7),
      Case("an exponent behind the point", #"{"x":5.e1}"#, "a digit is expected", 7),
      Case("two points", #"{"x":1..5}"#, "a digit is expected", 7),
      Case("two fractions", #"{"x":1.2.3}"#, "a comma or a closing brace is expected", 8),
      Case("a decimal comma", #"{"x":1,5}"#, "a member's name is expected", 7),
      Case("no exponent", #"{"x":1e}"#, "a digit is expected", 7),
      Case("no exponent behind a plus", #"{"x":1e+}"#, "a digit is expected", 8),
      Case("no exponent behind a minus", #"{"x":1E-}"#, "a digit is expected", 8),
      Case("two signs in the exponent", #"{"x":1e+-1}"#, "a digit is expected", 8),
      Case("two exponents", #"{"x":1e1e1}"#, "a comma or a closing brace is expected", 8),
      Case("a broken exponent", #"{"x":1e1.5}"#, "a comma or a closing brace is expected", 8),
      Case("only an exponent", #"{"x":e1}"#, "a value is expected", 5),
      Case("a blank within", #"{"x":1 000}"#, "a comma or a closing brace is expected", 7),
      Case("an underscore within", #"{"x":1_000}"#, "a comma or a closing brace is expected", 6),
      Case("hexadecimal", #"{"x":0x1F}"#, "a comma or a closing brace is expected", 6),
      Case("octal", #"{"x":0o17}"#, "a comma or a closing brace is expected", 6),
      Case("binary", #"{"x":0b1}"#, "a comma or a closing brace is expected", 6),
      Case("a suffix", #"{"x":1n}"#, "a comma or a closing brace is expected", 6),
      Case("a sum", #"{"x":1+1}"#, "a comma or a closing brace is expected", 6),
      Case("a date", #"{"x":2026-11-21}"#, "a comma or a closing brace is expected", 9),
      Case("NaN", #"{"x":NaN}"#, "a value is expected", 5),
      Case("-NaN", #"{"x":-NaN}"#, "a digit is expected", 6),
      Case("Infinity", #"{"x":Infinity}"#, "a value is expected", 5),
      Case("-Infinity", #"{"x":-Infinity}"#, "a digit is expected", 6),
      Case("a full-width digit", #"{"x":１}"#, "a value is expected", 5),
      Case("a full-width digit behind one", #"{"x":1２}"#, "a comma or a closing brace is expected", 6),
      Case("a full-width digit behind the point", #"{"x":1.５}"#, "a digit is expected", 7),
      Case("an Arabic digit", #"{"x":\#u{663}}"#, "a value is expected", 5),
      Case("a superscript digit", #"{"x":1²}"#, "a comma or a closing brace is expected", 6),
      Case("a NUL behind", #"{"x":1\#0}"#, "a comma or a closing brace is expected", 6),
    ])
  }

  @Test func `with another word than null, true and false is refused`() async throws {
    try await expect([
      Case("True", #"{"x":True}"#, "a value is expected", 5),
      Case("FALSE", #"{"x":FALSE}"#, "a value is expected", 5),
      Case("NULL", #"{"x":NULL}"#, "a value is expected", 5),
      Case("nULL", #"{"x":nULL}"#, "a value is expected", 5),
      Case("tru", #"{"x":tru}"#, "a value is expected", 5),
      Case("fals", #"{"x":fals}"#, "a value is expected", 5),
      Case("n", #"{"x":n}"#, "a value is expected", 5),
      Case("trua", #"{"x":trua}"#, "a value is expected", 5),
      Case("nulls", #"{"x":nulls}"#, "a comma or a closing brace is expected", 9),
      Case("true1", #"{"x":true1}"#, "a comma or a closing brace is expected", 9),
      Case("null null", #"{"x":null null}"#, "a comma or a closing brace is expected", 10),
      Case("-true", #"{"x":-true}"#, "a digit is expected", 6),
      Case("undefined", #"{"x":undefined}"#, "a value is expected", 5),
      Case("None", #"{"x":None}"#, "a value is expected", 5),
      Case("yes", #"{"x":yes}"#, "a value is expected", 5),
      Case("with an escape", #"{"x":t\u0072ue}"#, "a value is expected", 5),
      Case("with a NUL", #"{"x":nul\#0l}"#, "a value is expected", 5),
      Case("full-width", #"{"x":ｔｒｕｅ}"#, "a value is expected", 5),
      // Together with its last letter the accent is one character to Swift.
      Case("with an accent", #"{"x":null\#u{301}}"#, "a comma or a closing brace is expected", 9),
    ])
  }

  @Test func `with a bare control character in a string is refused`() async throws {
    try await expect([
      Case("NUL", #"{"email":"a\#0"}"#, "a control character in a string must be escaped", 11),
      Case("the one after it", #"{"email":"\#u{1}"}"#, "a control character in a string must be escaped", 10),
      Case("backspace", #"{"email":"a\#u{8}"}"#, "a control character in a string must be escaped", 11),
      Case("tab", #"{"email":"a\#tb"}"#, "a control character in a string must be escaped", 11),
      Case("line feed", #"{"email":"a\#nb"}"#, "a control character in a string must be escaped", 11),
      Case("carriage return", #"{"email":"a\#rb"}"#, "a control character in a string must be escaped", 11),
      Case("both", #"{"email":"a\#r\#nb"}"#, "a control character in a string must be escaped", 11),
      Case("escape", #"{"email":"a\#u{1B}"}"#, "a control character in a string must be escaped", 11),
      Case("the last one", #"{"email":"a\#u{1F}"}"#, "a control character in a string must be escaped", 11),
      Case("in a name", #"{"em\#tail":"a@b.co"}"#, "a control character in a string must be escaped", 4),
      Case("in a member that is ignored", #"{"email":"a@b.co","x":["\#t"]}"#, "a control character in a string must be escaped", 24),
    ])
  }

  @Test func `with an escape that JSON does not know is refused`() async throws {
    try await expect([
      Case("a hexadecimal one", #"{"email":"\x61"}"#, "an unknown escape", 11),
      Case("an octal one", #"{"email":"\141"}"#, "an unknown escape", 11),
      Case("a bell", #"{"email":"\a"}"#, "an unknown escape", 11),
      Case("a vertical tab", #"{"email":"\v"}"#, "an unknown escape", 11),
      Case("a NUL", #"{"email":"\0"}"#, "an unknown escape", 11),
      Case("a single quote", #"{"email":"\'"}"#, "an unknown escape", 11),
      Case("a blank", #"{"email":"\ "}"#, "an unknown escape", 11),
      Case("a capital N", #"{"email":"\N"}"#, "an unknown escape", 11),
      Case("a capital U", #"{"email":"\U0061"}"#, "an unknown escape", 11),
      Case("a bare NUL", #"{"email":"\\#0"}"#, "an unknown escape", 11),
      Case("a line's end", #"{"email":"\\#n"}"#, "an unknown escape", 11),
      Case("another letter", #"{"email":"\é"}"#, "an unknown escape", 11),
      Case("in a name", #"{"em\ail":"a@b.co"}"#, "an unknown escape", 5),
      Case("no digits", #"{"email":"\u"}"#, "four hexadecimal digits are expected", 12),
      Case("one digit", #"{"email":"\u1"}"#, "four hexadecimal digits are expected", 12),
      Case("two digits", #"{"email":"\u12"}"#, "four hexadecimal digits are expected", 12),
      Case("three digits", #"{"email":"\u123"}"#, "four hexadecimal digits are expected", 12),
      Case("the letter beyond F", #"{"email":"\u006G"}"#, "four hexadecimal digits are expected", 12),
      Case("the sign before A", #"{"email":"\u006@"}"#, "four hexadecimal digits are expected", 12),
      Case("the sign beyond 9", #"{"email":"\u006:"}"#, "four hexadecimal digits are expected", 12),
      Case("a plus", #"{"email":"\u+061"}"#, "four hexadecimal digits are expected", 12),
      Case("a minus", #"{"email":"\u-061"}"#, "four hexadecimal digits are expected", 12),
      Case("a blank before the digits", #"{"email":"\u 061"}"#, "four hexadecimal digits are expected", 12),
      Case("a prefix", #"{"email":"\u0x61"}"#, "four hexadecimal digits are expected", 12),
      Case("braces", #"{"email":"\u{61}"}"#, "four hexadecimal digits are expected", 12),
      Case("two u's", #"{"email":"\uu0061"}"#, "four hexadecimal digits are expected", 12),
      Case("a NUL for a digit", #"{"email":"\u006\#0"}"#, "four hexadecimal digits are expected", 12),
      // Swift calls these hexadecimal digits too.
      Case("full-width digits", #"{"email":"\u００６１"}"#, "four hexadecimal digits are expected", 12),
      Case("a full-width digit at the end", #"{"email":"\u006１"}"#, "four hexadecimal digits are expected", 12),
    ])
  }

  @Test func `with half of a surrogate pair is refused`() async throws {
    try await expect([
      Case("the first high one", #"{"email":"\ud800"}"#, "half of a surrogate pair", 12),
      Case("the last high one", #"{"email":"\uDBFF"}"#, "half of a surrogate pair", 12),
      Case("the first low one", #"{"email":"\udc00"}"#, "half of a surrogate pair", 12),
      Case("the last low one", #"{"email":"\uDFFF"}"#, "half of a surrogate pair", 12),
      Case("the wrong way round", #"{"email":"\ude00\ud83d"}"#, "half of a surrogate pair", 12),
      Case("two high ones", #"{"email":"\ud83d\ud83d"}"#, "half of a surrogate pair", 12),
      Case("two high ones before a low one", #"{"email":"\ud83d\ud83d\ude00"}"#, "half of a surrogate pair", 12),
      Case("two low ones", #"{"email":"\ude00\ude00"}"#, "half of a surrogate pair", 12),
      Case("a low one behind a pair", #"{"email":"\ud83d\ude00\ude00"}"#, "half of a surrogate pair", 24),
      Case("a high one behind a pair", #"{"email":"\ud83d\ude00\ud83d"}"#, "half of a surrogate pair", 24),
      Case("a high one before the character below", #"{"email":"\ud83d\udbff"}"#, "half of a surrogate pair", 12),
      Case("a high one before the character above", #"{"email":"\ud83d\ue000"}"#, "half of a surrogate pair", 12),
      Case("a high one before a letter", #"{"email":"\ud83dx"}"#, "half of a surrogate pair", 12),
      Case("a high one before a line feed", #"{"email":"\ud83d\n"}"#, "half of a surrogate pair", 12),
      Case("a high one before a backslash", #"{"email":"\ud83d\\"}"#, "half of a surrogate pair", 12),
      Case("a high one before a capital U", #"{"email":"\ud83d\Ude00"}"#, "half of a surrogate pair", 12),
      Case("a high one before a bare character", #"{"email":"\ud83d😀"}"#, "half of a surrogate pair", 12),
      Case("a blank between the halves", #"{"email":"\ud83d \ude00"}"#, "half of a surrogate pair", 12),
      Case("a low one with three digits", #"{"email":"\ud83d\ude0"}"#, "four hexadecimal digits are expected", 18),
      Case("in a name", #"{"\ud800":1}"#, "half of a surrogate pair", 4),
      Case("in a member that is ignored", #"{"email":"a@b.co","x":"\udead"}"#, "half of a surrogate pair", 25),
    ])
  }

  @Test func `that ends too early is refused`() async throws {
    try await expect([
      Case("behind the opening brace", "{", "unexpected end: a member's name is expected", 1),
      Case("behind a blank", "{ ", "unexpected end: a member's name is expected", 2),
      Case("behind a name's opening quote", #"{""#, "unexpected end: a string has no end", 2),
      Case("in a name", #"{"email"#, "unexpected end: a string has no end", 7),
      Case("in a name's escape", #"{"\"#, "unexpected end: an escape is cut short", 3),
      Case("behind a name", #"{"email""#, "unexpected end: a colon is expected", 8),
      Case("behind a colon", #"{"email":"#, "unexpected end: a value is missing", 9),
      Case("behind an opening quote", #"{"email":""#, "unexpected end: a string has no end", 10),
      Case("in a string", #"{"email":"a@b.co"#, "unexpected end: a string has no end", 16),
      Case("behind a backslash", #"{"email":"\"#, "unexpected end: an escape is cut short", 11),
      Case("behind an escape's letter", #"{"email":"\u"#, "unexpected end: four hexadecimal digits are expected", 12),
      Case("in an escape's digits", #"{"email":"\u006"#, "four hexadecimal digits are expected", 12),
      Case("behind half of a pair", #"{"email":"\ud83d"#, "half of a surrogate pair", 12),
      Case("in the second half", #"{"email":"\ud83d\u"#, "unexpected end: four hexadecimal digits are expected", 18),
      Case("behind an escaped quote", #"{"email":"a@b.co\"}"#, "unexpected end: a string has no end", 19),
      Case("behind three backslashes", #"{"email":"\\\"}"#, "unexpected end: a string has no end", 15),
      Case("behind a value", #"{"email":"a@b.co""#, "unexpected end: a comma or a closing brace is expected", 17),
      Case("behind a comma", #"{"email":"a@b.co","#, "unexpected end: a member's name is expected", 18),
      Case("behind an object within", #"{"x":{"y":1}"#, "unexpected end: a comma or a closing brace is expected", 12),
      Case("behind an opening bracket", #"{"x":["#, "unexpected end: a value is missing", 6),
      Case("behind an element", #"{"x":[1"#, "unexpected end: a comma or a closing bracket is expected", 7),
      Case("behind an element's comma", #"{"x":[1,"#, "unexpected end: a value is missing", 8),
      Case("behind an array within", #"{"x":[[1]"#, "unexpected end: a comma or a closing bracket is expected", 9),
      Case("behind a minus", #"{"x":-"#, "unexpected end: a digit is expected", 6),
      Case("behind a point", #"{"x":1."#, "unexpected end: a digit is expected", 7),
      Case("behind an exponent's letter", #"{"x":1e"#, "unexpected end: a digit is expected", 7),
      Case("in a word", #"{"x":nul"#, "a value is expected", 5),
      Case("only an opening bracket", "[", "unexpected end: a value is missing", 1),
      Case("only a quote", #"""#, "unexpected end: a string has no end", 1),
      Case("no opening quote", #"{"email":a@b.co"}"#, "a value is expected", 9),
      Case("no closing quote of a name", #"{"email:"a@b.co"}"#, "a colon is expected", 9),
      Case("a quote too many", #"{"email":"a"@b.co"}"#, "a comma or a closing brace is expected", 12),
    ])
  }

  @Test func `that gives a name twice in an object is refused`() async throws {
    try await expect([
      Case("two values", #"{"email":"a@b.co","email":"b@b.co"}"#, "a member's name stands twice", 18),
      Case("the same value", #"{"email":"a@b.co","email":"a@b.co"}"#, "a member's name stands twice", 18),
      Case("null first", #"{"email":null,"email":"a@b.co"}"#, "a member's name stands twice", 14),
      Case("null behind", #"{"email":"a@b.co","email":null}"#, "a member's name stands twice", 18),
      Case("far apart", #"{"email":"a@b.co","x":1,"y":2,"email":"b@b.co"}"#, "a member's name stands twice", 30),
      Case("white space between", #"{"x":1, \#n "x":2}"#, "a member's name stands twice", 10),
      Case("a name that is ignored", #"{"email":"a@b.co","x":1,"x":1}"#, "a member's name stands twice", 24),
      Case("an empty name", #"{"":1,"":2}"#, "a member's name stands twice", 6),
      Case("in an object within", #"{"email":"a@b.co","x":{"y":1,"y":2}}"#, "a member's name stands twice", 29),
      Case("in an object in an array", #"{"email":"a@b.co","x":[{"y":1,"y":2}]}"#, "a member's name stands twice", 30),
      Case("the second with an escape", #"{"email":"a@b.co","\u0065mail":"b@b.co"}"#, "a member's name stands twice", 18),
      Case("the first with an escape", #"{"\u0065mail":"a@b.co","email":"b@b.co"}"#, "a member's name stands twice", 23),
      Case("escapes in small and capital digits", #"{"\u006a":1,"\u006A":2}"#, "a member's name stands twice", 12),
      Case("a solidus and its escape", #"{"/":1,"\/":2}"#, "a member's name stands twice", 7),
      Case("two escapes of a line feed", #"{"\n":1,"\u000a":2}"#, "a member's name stands twice", 8),
      Case("two escapes of a quote", #"{"\"":1,"\u0022":2}"#, "a member's name stands twice", 8),
      Case("two escapes of a backslash", #"{"\\":1,"\u005c":2}"#, "a member's name stands twice", 8),
      Case("NULs", #"{"\u0000":1,"\u0000":2}"#, "a member's name stands twice", 12),
      Case("a letter and its escape", #"{"é":1,"\u00e9":2}"#, "a member's name stands twice", 8),
      Case("a pair and its character", #"{"😀":1,"\ud83d\ude00":2}"#, "a member's name stands twice", 10),
    ])
  }

  /// Swift's strings are equal when they are canonically equivalent; by RFC 7493 these names differ.
  @Test func `that gives canonically equivalent names in an object is taken, as they are different names`() async throws {
    try await expect([
      Case("composed and decomposed", #"{"\#u{E9}":1,"e\#u{301}":2}"#, .invalid(["email": ["required"]])),
      Case("composed and decomposed by escapes", #"{"\u00e9":1,"e\u0301":2}"#, .invalid(["email": ["required"]])),
      Case("marks in another order", #"{"a\#u{323}\#u{301}":1,"a\#u{301}\#u{323}":2}"#, .invalid(["email": ["required"]])),
      Case("a syllable and its letters", #"{"\#u{AC00}":1,"\#u{1100}\#u{1161}":2}"#, .invalid(["email": ["required"]])),
      Case("a letter and a sign", #"{"K":1,"\#u{212A}":2}"#, .invalid(["email": ["required"]])),
    ])
  }

  @Test func `nested deeper than eight levels is refused at the ninth`() async throws {
    let reason = "nested deeper than 8 levels"
    try await expect([
      Case("nine objects", objects(9), reason, 40),
      Case("nine arrays", arrays(9), reason, 8),
      Case("eight arrays in an object", #"{"x":\#(arrays(8))}"#, reason, 12),
      Case("arrays and objects in turn", #"{"x":[{"x":[{"x":[{"x":[{"x":1}]}]}]}]}"#, reason, 24),
      Case("behind an address", #"{"email":"a@b.co","x":\#(arrays(8))}"#, reason, 29),
      Case("before an address", #"{"x":\#(arrays(8)),"email":"a@b.co"}"#, reason, 12),
      Case("2,700 objects", objects(2700), reason, 40),
      Case("8,000 arrays", #"{"x":\#(arrays(8000))}"#, reason, 12),
      Case("2,700 objects, never closed", String(repeating: #"{"x":"#, count: 2700), reason, 40),
      Case("16,384 arrays, never closed", String(repeating: "[", count: 16384), reason, 8),
      Case("a fault before the ninth level", #"{"x":[{"x":[}"#, "a value is expected", 12),
      Case("5,000 braces, never opened", "{}" + String(repeating: "}", count: 5000), "unexpected text after the value", 2),
    ])
  }

  @Test func `with JSON's white space in any place is read`() async throws {
    try await expect([
      Case("none", #"{"email":"a@b.co"}"#, .email("a@b.co")),
      Case("each kind in each place", "\t\r\n {\t\r\n \"email\"\t\r\n :\t\r\n \"a@b.co\"\t\r\n }\t\r\n ", .email("a@b.co")),
      Case("lines", "{\n  \"email\": \"a@b.co\"\n}\n", .email("a@b.co")),
      Case("lines with carriage returns", "{\r\n  \"email\": \"a@b.co\"\r\n}\r\n", .email("a@b.co")),
      Case("carriage returns alone", "{\r\"email\":\"a@b.co\"\r}\r", .email("a@b.co")),
      Case("in arrays", #"{"email":"a@b.co","x" : [ 1 , [ ] , { } , "y" ] }"#, .email("a@b.co")),
      Case("behind numbers", #"{"x":1\#n,"y":-0\#t,"z":1e1 ,"email":"a@b.co"}"#, .email("a@b.co")),
      Case("in an empty object", "{ \t\r\n }", .invalid(["email": ["required"]])),
    ])
  }

  @Test func `with escapes means the characters that they stand for`() async throws {
    try await expect([
      Case("a letter", #"{"email":"\u0061lice@example.com"}"#, .email("alice@example.com")),
      Case("every character", #"{"email":"\u0061\u0040\u0062\u002e\u0063\u006f"}"#, .email("a@b.co")),
      Case("small and capital digits", #"{"email":"\u006a\u006A\u004a\u004A@b.co"}"#, .email("jjJJ@b.co")),
      Case("a member's name", #"{"\u0065mail":"a@b.co"}"#, .email("a@b.co")),
      Case("all of a member's name", #"{"\u0065\u006D\u0061\u0069\u006C":"a@b.co"}"#, .email("a@b.co")),
      Case("a name and its value", #"{"us\u0065rname":"\u0061lice"}"#, .username("alice")),
      Case("a solidus", #"{"email":"a\/b@b.co"}"#, .email("a/b@b.co")),
      Case("a solidus without", #"{"email":"a/b@b.co"}"#, .email("a/b@b.co")),
      Case("quotes", #"{"email":"\"a\"@b.co"}"#, .email(#""a"@b.co"#)),
      Case("quotes by number", #"{"email":"\u0022a\u0022@b.co"}"#, .email(#""a"@b.co"#)),
      Case("all short ones", #"{"username":"a\"\\\/\b\f\n\r\tb"}"#, .username("a\"\\/\u{8}\u{C}\n\r\tb")),
      Case("control characters", #"{"username":"a\u0001\u001f\u007fb"}"#, .username("a\u{1}\u{1F}\u{7F}b")),
      Case("a backslash before a u", #"{"username":"\\u0061"}"#, .username(#"\u0061"#)),
      Case("a backslash by number", #"{"username":"\u005cu0061"}"#, .username(#"\u0061"#)),
      Case("a letter of two bytes", #"{"username":"\u00e9"}"#, .username("\u{E9}")),
      Case("the neighbours of the surrogates", #"{"username":"\ud7ff\ue000"}"#, .username("\u{D7FF}\u{E000}")),
      Case("noncharacters", #"{"username":"a\ufdd0\ufffe\uffff"}"#, .username("a\(noncharacters)")),
      Case("a byte order mark", #"{"username":"\ufeffa"}"#, .username("\u{FEFF}a")),
      Case("a pair", #"{"username":"\ud83d\ude00"}"#, .username("😀")),
      Case("a pair in capitals among letters", #"{"username":"a\uD83D\uDE00b"}"#, .username("a😀b")),
      Case("two pairs", #"{"username":"\ud83d\ude00\ud83d\ude01"}"#, .username("😀😁")),
      Case("the first pair", #"{"username":"\ud800\udc00"}"#, .username("\u{10000}")),
      Case("the last pair", #"{"username":"a\udbff\udfff"}"#, .username("a\u{10FFFF}")),
      Case("NUL", #"{"username":"a\u0000b"}"#, .invalid(["username": ["null_characters_not_allowed"]])),
      Case("NUL in an address", #"{"email":"a\u0000@b.co"}"#, .invalid(["email": ["invalid", "null_characters_not_allowed"]])),
      Case("NUL in a member that is ignored", #"{"email":"a@b.co","x":"\u0000"}"#, .email("a@b.co")),
      Case("a line's end in an address", #"{"email":"a@b.co\r\nBcc: b@b.co"}"#, .invalid(["email": ["invalid"]])),
      Case("white space around an address", #"{"email":" \t\na@b.co\r\n\u00a0"}"#, .email("a@b.co")),
      Case("only white space", #"{"email":"\u0020\t"}"#, .invalid(["email": ["required"]])),
    ])
  }

  @Test func `with other characters as they are is read`() async throws {
    try await expect([
      Case("of two bytes", #"{"username":"\#u{E9}\#u{7FF}"}"#, .username("\u{E9}\u{7FF}")),
      Case("of three bytes", #"{"username":"\#u{800}日本"}"#, .username("\u{800}日本")),
      Case("of four bytes", #"{"username":"😀\#u{10FFFF}"}"#, .username("😀\u{10FFFF}")),
      // Django's form composes them.
      Case("decomposed", #"{"username":"e\#u{301}"}"#, .username("\u{E9}")),
      Case("a delete character", #"{"username":"a\#u{7F}b"}"#, .username("a\u{7F}b")),
      Case("control characters beyond ASCII", #"{"username":"a\#u{80}\#u{85}b"}"#, .username("a\u{80}\u{85}b")),
      Case("line separators", #"{"username":"a\#u{2028}\#u{2029}b"}"#, .username("a\u{2028}\u{2029}b")),
      Case("a byte order mark", #"{"username":"a\#u{FEFF}b"}"#, .username("a\u{FEFF}b")),
      Case("a replacement character", #"{"username":"a\#u{FFFD}b"}"#, .username("a\u{FFFD}b")),
      Case("noncharacters", #"{"username":"a\#(noncharacters)b"}"#, .username("a\(noncharacters)b")),
      Case("an unassigned character", #"{"username":"a\#u{378}b"}"#, .username("a\u{378}b")),
      Case("single quotes", #"{"username":"'a'"}"#, .username("'a'")),
      Case("a document", #"{"username":"{'x':[1,],}"}"#, .username("{'x':[1,],}")),
      Case("comments", #"{"username":"/* a */ // b"}"#, .username("/* a */ // b")),
      Case("a domain of another script", #"{"email":"a@bücher.example"}"#, .email("a@b\u{FC}cher.example")),
    ])
  }

  @Test func `with numbers of every shape is read`() async throws {
    try await expect([
      Case("integers", #"{"email":"a@b.co","x":[0,-0,1,-1,10,1234567890]}"#, .email("a@b.co")),
      Case("fractions", #"{"email":"a@b.co","x":[0.0,-0.0,0.5,1.25,10.010]}"#, .email("a@b.co")),
      Case("exponents", #"{"email":"a@b.co","x":[1e1,1E1,1e+1,1e-1,0e0,-0E-0,1.5e3,1e00,1E+007]}"#, .email("a@b.co")),
      Case("beyond 64 bits", #"{"email":"a@b.co","x":[9223372036854775808,-9223372036854775809,18446744073709551616]}"#, .email("a@b.co")),
      Case("beyond a double", #"{"email":"a@b.co","x":[1e400,-1e400,1e-400,1e999999999999]}"#, .email("a@b.co")),
      Case("16,000 digits", #"{"email":"a@b.co","x":\#(String(repeating: "1", count: 16000))}"#, .email("a@b.co")),
      Case("16,000 digits behind the point", #"{"email":"a@b.co","x":0.\#(String(repeating: "0", count: 16000))}"#, .email("a@b.co")),
      Case("16,000 digits in the exponent", #"{"email":"a@b.co","x":1e\#(String(repeating: "1", count: 16000))}"#, .email("a@b.co")),
    ])
  }

  @Test func `with members that it does not know is read without them`() async throws {
    try await expect([
      Case("of each type", #"{"email":"a@b.co","s":"x","n":1,"t":true,"f":false,"z":null,"a":[],"o":{}}"#, .email("a@b.co")),
      Case("of each type in an array", #"{"email":"a@b.co","x":["s",1,true,false,null,[],{}]}"#, .email("a@b.co")),
      Case("in front", #"{"x":{"email":"b@b.co"},"email":"a@b.co"}"#, .email("a@b.co")),
      Case("with the same name within", #"{"email":"a@b.co","x":{"email":"b@b.co","x":{"email":"c@b.co"}}}"#, .email("a@b.co")),
      Case("with the same name in two objects", #"{"email":"a@b.co","x":[{"y":1},{"y":2}]}"#, .email("a@b.co")),
      Case("with an empty name", #"{"":"","email":"a@b.co"}"#, .email("a@b.co")),
      Case("with names in capitals", #"{"Email":"b@b.co","EMAIL":1,"email":"a@b.co"}"#, .email("a@b.co")),
      Case("with blanks in their names", #"{"email ":"b@b.co"," email":1,"email":"a@b.co"}"#, .email("a@b.co")),
      Case("with a NUL behind the name", #"{"email\u0000":"b@b.co","email":"a@b.co"}"#, .email("a@b.co")),
      Case("with an accent on the name", #"{"email\#u{301}":"b@b.co","email":"a@b.co"}"#, .email("a@b.co")),
      Case("with a full-width letter in the name", #"{"ｅmail":"b@b.co","email":"a@b.co"}"#, .email("a@b.co")),
      Case("with a Cyrillic letter in the name", #"{"\#u{435}mail":"b@b.co","email":"a@b.co"}"#, .email("a@b.co")),
      Case("with names that are only compatible", #"{"\#u{FB01}":1,"fi":2,"email":"a@b.co"}"#, .email("a@b.co")),
      Case("with line ends for names", #"{"\n":1,"\r":2,"\r\n":3,"email":"a@b.co"}"#, .email("a@b.co")),
      Case("with names that mean something elsewhere", #"{"email":"a@b.co","__proto__":{"username":"b"},"$ref":"/"}"#, .email("a@b.co")),
      Case("and no other", #"{"x":"a@b.co"}"#, .invalid(["email": ["required"]])),
      Case("and no other, but within", #"{"x":{"email":"a@b.co"}}"#, .invalid(["email": ["required"]])),
      Case("and no other, but in capitals", #"{"Email":"a@b.co"}"#, .invalid(["email": ["required"]])),
    ])
  }

  @Test func `with null or another type than text is answered by field`() async throws {
    try await expect([
      Case("nothing", "{}", .invalid(["email": ["required"]])),
      Case("null", #"{"email":null}"#, .invalid(["email": ["required"]])),
      Case("null twice", #"{"email":null,"username":null}"#, .invalid(["email": ["required"]])),
      Case("null for the other", #"{"email":"a@b.co","username":null,"locale":null}"#, .email("a@b.co")),
      Case("null for the address", #"{"email":null,"username":"alice"}"#, .username("alice")),
      Case("true", #"{"email":true}"#, .invalid(["email": ["invalid"]])),
      Case("false", #"{"email":false}"#, .invalid(["email": ["invalid"]])),
      Case("a number", #"{"email":1e1}"#, .invalid(["email": ["invalid"]])),
      Case("an empty array", #"{"email":[]}"#, .invalid(["email": ["invalid"]])),
      Case("an array of the address", #"{"email":["a@b.co"]}"#, .invalid(["email": ["invalid"]])),
      Case("an empty object", #"{"email":{}}"#, .invalid(["email": ["invalid"]])),
      Case("an object of the address", #"{"email":{"email":"a@b.co"}}"#, .invalid(["email": ["invalid"]])),
      Case("a number for a user name", #"{"username":-0}"#, .invalid(["username": ["invalid"]])),
      Case("an array for a language", #"{"email":"a@b.co","locale":["en"]}"#, .invalid(["locale": ["invalid"]])),
      Case("a number and an object", #"{"email":1,"locale":{}}"#, .invalid(["email": ["invalid"], "locale": ["invalid"]])),
      Case("a number and an array", #"{"email":1,"username":[]}"#, .invalid(["username": ["ambiguous"]])),
      Case("two texts", #"{"email":"a@b.co","username":"alice"}"#, .invalid(["username": ["ambiguous"]])),
    ])
  }

  @Test func `at the bounds of size and depth is read`() async throws {
    let frame = #"{"email":"a@b.co","x":""}"#
    func padded(_ character: String, _ document: String) -> String {
      String(repeating: character, count: 16384 - document.utf8.count)
    }
    let elements = String(repeating: "0,", count: 8000)
    let members = (0..<1000).map { #""\#($0)":\#($0)"# }.joined(separator: ",")
    try await expect([
      Case("a string up to the limit", frame.replacing(#""""#, with: #""\#(padded("x", frame))""#), .email("a@b.co")),
      Case("a name up to the limit", frame.replacing("x", with: padded("x", frame) + "x"), .email("a@b.co")),
      Case("blanks up to the limit", frame + padded(" ", frame), .email("a@b.co")),
      Case("blanks in front up to the limit", padded(" ", frame) + frame, .email("a@b.co")),
      Case("line feeds up to the limit", frame + padded("\n", frame), .email("a@b.co")),
      Case("8,001 elements", #"{"x":[\#(elements)0],"email":"a@b.co"}"#, .email("a@b.co")),
      Case("1,001 members", #"{\#(members),"email":"a@b.co"}"#, .email("a@b.co")),
      Case("eight objects", objects(8), .invalid(["email": ["required"]])),
      Case("seven objects in an object", #"{"email":"a@b.co","x":\#(objects(7))}"#, .email("a@b.co")),
      Case("seven arrays in an object", #"{"email":"a@b.co","x":\#(arrays(7))}"#, .email("a@b.co")),
      Case("seven arrays around a value", #"{"email":"a@b.co","x":[[[[[[[1]]]]]]]}"#, .email("a@b.co")),
      Case("arrays and objects in turn", #"{"email":"a@b.co","x":[{"x":[{"x":[{"x":[]}]}]}]}"#, .email("a@b.co")),
      Case("eight levels again and again", #"{"email":"a@b.co","x":[\#(arrays(6)),\#(arrays(6)),\#(objects(6))]}"#, .email("a@b.co")),
      Case("brackets in a string", #"{"email":"a@b.co","x":"\#(String(repeating: "[{", count: 5000))"}"#, .email("a@b.co")),
    ])
  }

  @Test func `spelled in escapes brings the mail to the address, in the language`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      let reply = try await client.post(Array(#"{"\u0065mail":"\u0061lice\u0040example.com","l\u006fcale":"d\u0065"}"#.utf8))
      #expect(reply.status == 202)
      _ = try await harness.link()
      #expect(harness.mails.sent.map(\.language) == ["de"])
    }
  }

  /// Sends the documents one after the other, and names each that has another outcome than its own.
  private func expect(_ cases: [Case]) async throws {
    let harness = try Harness()
    // The worker sleeps: what was asked for stays in the outbox until it is looked at.
    try await harness.run(policy: .asleep) { client in
      for expected in cases {
        let reply = try await client.post(expected.document)
        let outcome = try outcome(of: reply, harness)
        #expect(outcome == expected.outcome, "\(expected.name)")
      }
    }
  }

  private func outcome(of reply: Reply, _ harness: Harness) throws -> Outcome {
    let rows = try harness.sql { db in
      try Row.fetchAll(db, sql: "DELETE FROM password_reset_outbox RETURNING kind, identifier").map { row in
        Outcome.asked(kind: row["kind"], whom: Outcome.characters(of: row["identifier"]))
      }
    }
    switch (reply.status, reply.code) {
    case (202, nil) where rows.count == 1: return rows[0]
    case (400, "malformed_json") where rows.isEmpty: return .malformed(try #require(try reply.json["detail"] as? String))
    case (400, "validation_error") where rows.isEmpty: return .invalid(reply.fieldCodes)
    default: return .other(status: reply.status, code: reply.code, rows: rows.count)
    }
  }

  private func bytes(of units: [some FixedWidthInteger]) -> [UInt8] { units.flatMap { unit in withUnsafeBytes(of: unit) { Array($0) } } }

  /// Objects in each other, `count` of them.
  private func objects(_ count: Int) -> String { String(repeating: #"{"x":"#, count: count) + "1" + String(repeating: "}", count: count) }

  /// Arrays in each other, `count` of them.
  private func arrays(_ count: Int) -> String { String(repeating: "[", count: count) + String(repeating: "]", count: count) }
}

/// A document, and what comes of it.
private struct Case {
  var name: String
  var document: [UInt8]
  var outcome: Outcome

  /// One that is taken for JSON.
  init(_ name: String, _ document: String, _ outcome: Outcome) {
    self.name = name
    self.document = Array(document.utf8)
    self.outcome = outcome
  }

  /// One that is refused for `reason`, which lies at the byte `offset`.
  init(_ name: String, _ document: String, _ reason: String, _ offset: Int) {
    self.init(name, Array(document.utf8), reason, offset)
  }

  init(_ name: String, _ document: [UInt8], _ reason: String, _ offset: Int) {
    self.name = name
    self.document = document
    outcome = .malformed("The body is not well-formed JSON: \(reason), at byte \(offset).")
  }
}

private enum Outcome: Equatable {
  /// Refused with this detail.
  case malformed(String)
  /// Refused with these codes for the fields.
  case invalid([String: [String]])
  /// Accepted, and this is in the outbox; character by character, as a string would equal its other spellings.
  case asked(kind: String, whom: [Unicode.Scalar])
  /// Nothing that any document should come to.
  case other(status: Int, code: String?, rows: Int)

  static func email(_ address: String) -> Outcome { .asked(kind: "request_email", whom: characters(of: address)) }

  static func username(_ name: String) -> Outcome { .asked(kind: "request_username", whom: characters(of: name)) }

  static func characters(of text: String) -> [Unicode.Scalar] { Array(text.unicodeScalars) }
}

extension TestClientProtocol {
  fileprivate func post(_ document: [UInt8]) async throws -> Reply {
    let body = ByteBuffer(bytes: document)
    return try await execute(uri: "/password-reset", method: .post, headers: [.contentType: "application/json"], body: body) { Reply($0) }
  }
}
