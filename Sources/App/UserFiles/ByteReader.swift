import Foundation

/// Reads a file piece by piece, and cuts it into CSV records, lines or the elements of a JSON array, each with its line number.
///
/// Ours, as no library at hand does either from a stream: SwiftCSV wants the whole text and takes a comma with a combining mark for something
/// else, and Foundation decodes a JSON document as a whole.
struct ByteReader {
  /// More than any user takes: what goes on and on is not read into memory.
  static let longest = 1 << 20
  private static let chunk = 1 << 16

  private let file: FileHandle
  private var buffer: [UInt8] = []
  private var index = 0
  private(set) var position = 0
  private var line = 1

  init(_ file: FileHandle) { self.file = file }

  private mutating func peek() throws -> UInt8? {
    if index == buffer.count {
      do {
        buffer = [UInt8](try file.read(upToCount: Self.chunk) ?? Data())
      } catch {
        throw UserFileReader.Broken(line: line, reason: "the file cannot be read")
      }
      index = 0
      guard !buffer.isEmpty else { return nil }
    }
    return buffer[index]
  }

  private mutating func next() throws -> UInt8? {
    guard let byte = try peek() else { return nil }
    index += 1
    position += 1
    if byte == .newline { line += 1 }
    return byte
  }

  private func check(_ data: [UInt8], from start: Int) throws {
    if data.count > Self.longest {
      throw UserFileReader.Broken(line: start, reason: "what begins here has over a million bytes; is it a file of users?")
    }
  }

  // MARK: Lines

  /// The next line, without its end; nil at the end of the file.
  mutating func textLine() throws -> (Int, [UInt8])? {
    guard try peek() != nil else { return nil }
    let start = line
    var text: [UInt8] = []
    while let byte = try next(), byte != .newline {
      text.append(byte)
      try check(text, from: start)
    }
    return (start, text)
  }

  // MARK: CSV

  /// The next record (RFC 4180); blank lines are passed over. Nil at the end of the file.
  mutating func csvRecord() throws -> (Int, [String])? {
    if position == 0 { try skipByteOrderMark() }
    while let byte = try peek(), byte == .newline || byte == .carriageReturn { _ = try next() }
    guard try peek() != nil else { return nil }
    let (start, begin) = (line, position)
    var values: [String] = []
    while true {
      let (value, isLast) = try csvValue(from: start)
      values.append(value)
      if position - begin > Self.longest || values.count > 100 {
        throw UserFileReader.Broken(line: start, reason: "this line has over 100 values, or over a million bytes; is it a file of users?")
      }
      if isLast { return (start, values) }
    }
  }

  private mutating func skipByteOrderMark() throws {
    guard try peek() == 0xEF else { return }
    for _ in 0..<3 { _ = try next() }
  }

  private mutating func csvValue(from start: Int) throws -> (String, isLast: Bool) {
    var value: [UInt8] = []
    if try peek() == .quote {
      _ = try next()
      value = try quotedValue(from: start)
    } else {
      while let byte = try peek(), ![.comma, .newline, .carriageReturn].contains(byte) {
        if byte == .quote { throw UserFileReader.Broken(line: line, reason: "a quote stands inside a value; put the value in quotes and double it") }
        value.append(byte)
        _ = try next()
        try check(value, from: start)
      }
    }
    guard let text = String(validating: value, as: UTF8.self) else { throw UserFileReader.Broken(line: start, reason: "this is not UTF-8") }
    if try peek() == .carriageReturn {
      _ = try next()
      guard try peek() == .newline || peek() == nil else { throw UserFileReader.Broken(line: line, reason: "a carriage return stands alone") }
    }
    switch try next() {
    case .comma: return (text, false)
    case .newline, nil: return (text, true)
    default: throw UserFileReader.Broken(line: line, reason: "behind a quoted value a comma or the end of the line must come")
    }
  }

  private mutating func quotedValue(from start: Int) throws -> [UInt8] {
    var value: [UInt8] = []
    while let byte = try next() {
      if byte == .quote {
        guard try peek() == .quote else { return value }
        _ = try next()
      }
      value.append(byte)
      try check(value, from: start)
    }
    throw UserFileReader.Broken(line: start, reason: "a quote that opens here is never closed")
  }

  // MARK: JSON

  /// The text of the next element of the array that the file holds; nil behind the last.
  mutating func arrayElement(isFirst: Bool) throws -> (Int, [UInt8])? {
    if isFirst {
      try skipByteOrderMark()
      try skipBlanks()
      guard try next() == UInt8(ascii: "[") else {
        throw UserFileReader.Broken(line: line, reason: "this is not a JSON array, as dumpdata writes it")
      }
    }
    try skipBlanks()
    if try peek() == UInt8(ascii: "]"), isFirst { return try endOfArray() }
    if !isFirst {
      switch try next() {
      case .comma: try skipBlanks()
      case UInt8(ascii: "]"): return try endOfArray(isRead: true)
      default: throw UserFileReader.Broken(line: line, reason: "a comma or the end of the array must come here; the file may be cut short")
      }
    }
    guard try peek() == UInt8(ascii: "{") else { throw UserFileReader.Broken(line: line, reason: "a JSON object must come here") }
    return try object()
  }

  /// The text of a JSON object: up to the brace that closes it. Whether it is JSON the decoder finds out.
  private mutating func object() throws -> (Int, [UInt8]) {
    let start = line
    var text: [UInt8] = []
    var depth = 0
    var isInString = false
    while let byte = try next() {
      text.append(byte)
      try check(text, from: start)
      if isInString {
        if byte == UInt8(ascii: "\\"), let escaped = try next() { text.append(escaped) }
        if byte == .quote { isInString = false }
        continue
      }
      switch byte {
      case .quote: isInString = true
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        if depth == 0 { return (start, text) }
      default: break
      }
    }
    throw UserFileReader.Broken(line: start, reason: "an object that opens here is never closed")
  }

  private mutating func endOfArray(isRead: Bool = false) throws -> (Int, [UInt8])? {
    if !isRead { _ = try next() }
    try skipBlanks()
    guard try peek() == nil else { throw UserFileReader.Broken(line: line, reason: "there is something behind the array") }
    return nil
  }

  private mutating func skipBlanks() throws {
    while let byte = try peek(), [0x20, 0x09, .carriageReturn, .newline].contains(byte) { _ = try next() }
  }
}

extension UInt8 {
  fileprivate static let newline = UInt8(ascii: "\n")
  fileprivate static let carriageReturn = UInt8(ascii: "\r")
  fileprivate static let comma = UInt8(ascii: ",")
  fileprivate static let quote = UInt8(ascii: "\"")
}
