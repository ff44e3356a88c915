/// A statement whose parameters `:name` are replaced by `$1`, `$2` and so on, as PostgreSQL knows them.
///
/// Only PostgreSQL's own rules decide where a literal, a quoted name or a comment ends, so this follows them: a name in one of
/// these is no parameter.
struct NamedParameters {
  /// Why the parameters cannot be replaced.
  struct Fault: Error { var reason: String }

  /// The text with the replacements.
  private(set) var sql = ""
  /// The names in the order of their numbers, each once.
  private(set) var names: [String] = []

  private let text: [UInt8]
  private var position = 0
  private let types: KeyValuePairs<String, String>

  /// - Parameter types: the type of each name that may appear.
  init(_ sql: String, types: KeyValuePairs<String, String>) throws(Fault) {
    text = Array(sql.utf8)
    self.types = types
    var bytes: [UInt8] = []
    while let byte = byte(0) {
      let start = position
      switch byte {
      case UInt8(ascii: "'"): skipLiteral(hasEscapes: isPrefixed(by: "e"))
      case UInt8(ascii: "\""): skip(past: byte)
      case UInt8(ascii: "-") where self.byte(1) == byte: skipLine()
      case UInt8(ascii: "/") where self.byte(1) == UInt8(ascii: "*"): skipComment()
      case UInt8(ascii: "$"): try skipDollar()
      case UInt8(ascii: ":"):
        if let name = try parameter() {
          bytes += Array(placeholder(name).utf8)
          continue
        }
      default: position += 1
      }
      bytes += text[start..<min(position, text.count)]
    }
    self.sql = String(decoding: bytes, as: UTF8.self)
  }

  private func byte(_ offset: Int) -> UInt8? { position + offset < text.count ? text[position + offset] : nil }

  private static func isNamePart(_ byte: UInt8?) -> Bool {
    guard let byte else { return false }
    return byte == UInt8(ascii: "_") || byte >= 0x80 || isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
  }

  private static func isDigit(_ byte: UInt8?) -> Bool { byte.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false }

  /// Whether the literal that begins here follows this letter, as in `E'…'`.
  private func isPrefixed(by letter: Character) -> Bool {
    guard position > 0, text[position - 1] | 0x20 == letter.asciiValue else { return false }
    return position < 2 || !Self.isNamePart(text[position - 2])
  }

  private mutating func skip(past end: UInt8) {
    position += 1
    while let byte = byte(0), byte != end { position += 1 }
    position += 1
  }

  /// A doubled quotation mark looks like the end of one literal and the beginning of the next, which leads to the same result.
  private mutating func skipLiteral(hasEscapes: Bool) {
    repeat {
      position += 1
      while let byte = byte(0), byte != UInt8(ascii: "'") { position += hasEscapes && byte == UInt8(ascii: "\\") ? 2 : 1 }
      position += 1
      // The second half of a literal with escapes has them as well.
    } while hasEscapes && byte(0) == UInt8(ascii: "'")
  }

  private mutating func skipLine() { while let byte = byte(0), byte != UInt8(ascii: "\n") { position += 1 } }

  /// Comments can be nested.
  private mutating func skipComment() {
    var depth = 0
    repeat {
      switch (byte(0), byte(1)) {
      case (UInt8(ascii: "/"), UInt8(ascii: "*")): (depth, position) = (depth + 1, position + 2)
      case (UInt8(ascii: "*"), UInt8(ascii: "/")): (depth, position) = (depth - 1, position + 2)
      default: position += 1
      }
    } while depth > 0 && position < text.count
  }

  /// Skips a literal such as `$$…$$` or `$tag$…$tag$`.
  private mutating func skipDollar() throws(Fault) {
    // A dollar can be a part of a name.
    guard position == 0 || !Self.isNamePart(text[position - 1]) else {
      position += 1
      return
    }
    if Self.isDigit(byte(1)) { throw Fault(reason: "the statement has a parameter with $; write :user_id instead") }
    var length = 1
    while Self.isNamePart(byte(length)) { length += 1 }
    guard byte(length) == UInt8(ascii: "$") else {
      position += 1
      return
    }
    let tag = text[position...position + length]
    position += tag.count
    while position < text.count, !text[position...].starts(with: tag) { position += 1 }
    position += tag.count
  }

  /// Reads the name of a parameter, or skips what is none: `::` before a type, `:=`, and the colon in a slice of an array.
  private mutating func parameter() throws(Fault) -> String? {
    if byte(1) == UInt8(ascii: ":") {
      position += 2
      return nil
    }
    var length = 1
    while Self.isNamePart(byte(length)) { length += 1 }
    guard length > 1, !Self.isDigit(byte(1)) else {
      position += 1
      return nil
    }
    let name = String(decoding: text[(position + 1)..<(position + length)], as: UTF8.self)
    guard types.contains(where: { $0.key == name }) else {
      let known = types.map { ":\($0.key)" }.joined(separator: " and ")
      throw Fault(reason: "the statement has the parameter :\(name); the only parameters are \(known)")
    }
    position += length
    return name
  }

  private mutating func placeholder(_ name: String) -> String {
    if !names.contains(name) { names.append(name) }
    let number = (names.firstIndex(of: name) ?? 0) + 1
    return "CAST($\(number) AS \(types.first { $0.key == name }?.value ?? "text"))"
  }
}
