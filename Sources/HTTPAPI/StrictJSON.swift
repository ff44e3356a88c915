/// Parses JSON strictly: RFC 8259 to the letter, without duplicate names in an object (RFC 7493), to a limited depth.
///
/// Foundation's decoder accepts duplicate names, trailing commas and more, which two parsers can read differently. C
/// libraries can reject them, but hostile input should meet a memory-safe parser.
enum StrictJSON {
  /// A value. Numbers and arrays are checked but not kept.
  enum Value: Equatable {
    case null
    case boolean(Bool)
    case string(String)
    /// The members by the UTF-8 of their names. A `String` key would be hashed and compared in its canonical form, which
    /// takes quadratic time for many combining marks, and under which different names are equal.
    case object([[UInt8]: Value])
    case other
  }

  /// A syntax error, and the offset of its byte from 0.
  struct Malformed: Error, Equatable {
    var reason: String
    var offset: Int
  }

  /// The bodies of this API are flat. Eight levels leave room for ignored members, and prevent a stack overflow.
  static let maximumDepth = 8

  static func parse(_ bytes: some Collection<UInt8>) throws(Malformed) -> Value {
    let bytes = Array(bytes)
    guard String(validating: bytes, as: UTF8.self) != nil else { throw Malformed(reason: "the text is not UTF-8", offset: validPrefix(bytes)) }
    var parser = Parser(bytes: bytes)
    return try parser.document()
  }

  /// Returns the number of valid UTF-8 bytes before the first invalid one.
  private static func validPrefix(_ bytes: [UInt8]) -> Int {
    var parser = Unicode.UTF8.ForwardParser()
    var iterator = bytes.makeIterator()
    var length = 0
    while case .valid(let scalar) = parser.parseScalar(from: &iterator) { length += scalar.count }
    return length
  }

  private struct Parser {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(Malformed) -> Value {
      skipSpace()
      let value = try value(depth: 1)
      skipSpace()
      guard position == bytes.count else { throw malformed("unexpected text after the value") }
      return value
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func malformed(_ reason: String) -> Malformed {
      Malformed(reason: next == nil ? "unexpected end: \(reason)" : reason, offset: position)
    }

    private mutating func skipSpace() {
      while let byte = next, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { position += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
      guard next == UInt8(ascii: character) else { return false }
      position += 1
      return true
    }

    private mutating func value(depth: Int) throws(Malformed) -> Value {
      guard let byte = next else { throw malformed("a value is missing") }
      switch Unicode.Scalar(byte) {
      case "{": return try object(depth: depth)
      case "[": return try array(depth: depth)
      case "\"": return .string(String(decoding: try string(), as: UTF8.self))
      case "-", "0"..."9":
        try number()
        return .other
      default: return try word()
      }
    }

    private mutating func word() throws(Malformed) -> Value {
      for (word, value) in [("null", Value.null), ("true", .boolean(true)), ("false", .boolean(false))]
      where bytes[position...].starts(with: word.utf8) {
        position += word.utf8.count
        return value
      }
      throw malformed("a value is expected")
    }

    private func checkDepth(_ depth: Int) throws(Malformed) {
      if depth > StrictJSON.maximumDepth { throw malformed("nested deeper than \(StrictJSON.maximumDepth) levels") }
    }

    private mutating func object(depth: Int) throws(Malformed) -> Value {
      try checkDepth(depth)
      position += 1
      var members: [[UInt8]: Value] = [:]
      skipSpace()
      if take("}") { return .object(members) }
      repeat {
        skipSpace()
        let start = position
        guard next == UInt8(ascii: "\"") else { throw malformed("a member's name is expected") }
        let name = try string()
        guard members[name] == nil else { throw Malformed(reason: "a member name occurs twice", offset: start) }
        skipSpace()
        guard take(":") else { throw malformed("a colon is expected") }
        skipSpace()
        members[name] = try value(depth: depth + 1)
        skipSpace()
      } while take(",")
      guard take("}") else { throw malformed("a comma or a closing brace is expected") }
      return .object(members)
    }

    private mutating func array(depth: Int) throws(Malformed) -> Value {
      try checkDepth(depth)
      position += 1
      skipSpace()
      if take("]") { return .other }
      repeat {
        skipSpace()
        _ = try value(depth: depth + 1)
        skipSpace()
      } while take(",")
      guard take("]") else { throw malformed("a comma or a closing bracket is expected") }
      return .other
    }

    private mutating func number() throws(Malformed) {
      _ = take("-")
      if !take("0") { try digits() }
      if take(".") { try digits() }
      if take("e") || take("E") {
        _ = take("+") || take("-")
        try digits()
      }
    }

    private mutating func digits() throws(Malformed) {
      let start = position
      while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
      guard position > start else { throw malformed("a digit is expected") }
    }

    private mutating func string() throws(Malformed) -> [UInt8] {
      position += 1
      var text: [UInt8] = []
      while let byte = next {
        switch byte {
        case UInt8(ascii: "\""):
          position += 1
          return text
        case UInt8(ascii: "\\"):
          position += 1
          text += Array(String(try escape()).utf8)
        case 0..<0x20: throw malformed("a control character in a string must be escaped")
        default:
          position += 1
          text.append(byte)
        }
      }
      throw malformed("a string has no end")
    }

    private mutating func escape() throws(Malformed) -> Unicode.Scalar {
      guard let byte = next else { throw malformed("an escape is cut short") }
      position += 1
      switch Unicode.Scalar(byte) {
      case "\"": return "\""
      case "\\": return "\\"
      case "/": return "/"
      case "b": return "\u{8}"
      case "f": return "\u{C}"
      case "n": return "\n"
      case "r": return "\r"
      case "t": return "\t"
      case "u": return try unicodeEscape()
      default:
        position -= 1
        throw malformed("an unknown escape")
      }
    }

    private mutating func unicodeEscape() throws(Malformed) -> Unicode.Scalar {
      let start = position
      let unit = try hexUnit()
      if let scalar = Unicode.Scalar(unit) { return scalar }
      // A character above U+FFFF takes two escapes, high surrogate first. Half of a pair is not a character.
      if unit < 0xDC00, take("\\"), take("u"), case let low = try hexUnit(), (0xDC00...0xDFFF).contains(low),
        let scalar = Unicode.Scalar(0x10000 + (UInt32(unit) - 0xD800) << 10 + UInt32(low) - 0xDC00)
      {
        return scalar
      }
      throw Malformed(reason: "half of a surrogate pair", offset: start)
    }

    private mutating func hexUnit() throws(Malformed) -> UInt16 {
      let digits = bytes[position...].prefix(4)
      guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit && $0 < 0x80 }),
        let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
      else { throw malformed("four hexadecimal digits are expected") }
      position += 4
      return unit
    }
  }
}
