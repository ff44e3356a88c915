/// Reads what MySQL and MariaDB write: values between tabs or commas, some in quotes, with a backslash before special characters.
struct OutfileReader {
  /// What MySQL writes after a backslash instead of the byte itself, such as `\0` for NUL.
  private static let escapes: [UInt8: UInt8] = Dictionary(uniqueKeysWithValues: zip("0ntr".utf8, "\0\n\t\r".utf8))
  private var separator: UInt8?

  /// Returns the next record with the number of its first line, or `nil` at the end of the file. A value is `nil` if it is `\N`.
  mutating func next(_ lines: inout LineReader) throws -> (line: Int, values: [String?])? {
    var (values, value, start, length) = ([String?](), [UInt8](), lines.number + 1, 0)
    var (isEscaped, isNull, quotes) = (false, false, 0)
    while let line = try lines.next() {
      separator = separator ?? line.first { [UInt8(ascii: "\t"), UInt8(ascii: ",")].contains($0) }
      length += line.count
      guard length <= LineReader.limit else { throw UserFileReader.Broken(line: start, UserFileReader.tooLong) }
      for byte in line {
        let isEnd = byte == separator || byte == UInt8(ascii: "\n")
        if isEscaped {
          isEscaped = false
          isNull = byte == UInt8(ascii: "N") && value.isEmpty && quotes == 0
          if !isNull { value.append(Self.escapes[byte] ?? byte) }
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else if byte == UInt8(ascii: "\""), separator == UInt8(ascii: ","), quotes == 1 || value.isEmpty && quotes == 0 {
          quotes += 1
        } else if quotes == 1 || !isEnd {
          guard quotes < 2 else {
            throw UserFileReader.Broken(line: lines.number, "a quote is misplaced; write the file without ESCAPED BY, so that MySQL uses backslashes")
          }
          value.append(byte)
        } else {
          guard let text = String(validating: value, as: UTF8.self) else { throw UserFileReader.Broken(line: start, "this is not UTF-8") }
          values.append(isNull ? nil : text)
          (value, isNull, quotes) = ([], false, 0)
          if byte == UInt8(ascii: "\n") { return (start, values) }
        }
      }
    }
    guard length == 0 else { throw UserFileReader.Broken(line: start, "the record that starts here is not complete") }
    return nil
  }
}
