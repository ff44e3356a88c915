import CCSV

/// Reads CSV records (RFC 4180) with libcsv, which gets one line at a time, so that each record has a line number and a limit.
final class CSVReader {
  private let parser = UnsafeMutablePointer<csv_parser>.allocate(capacity: 1)
  private var values: [String?] = []
  private var isUTF8 = true
  /// The number of records that ended in the last line.
  private var ended = 0

  init() {
    // libcsv's only failure here is a null pointer.
    _ = csv_init(parser, UInt8(CSV_STRICT | CSV_STRICT_FINI | CSV_EMPTY_IS_NULL))
    // Spaces are part of a value (RFC 4180, section 2).
    csv_set_space_func(parser) { _ in 0 }
  }

  deinit {
    csv_free(parser)
    parser.deallocate()
  }

  /// Returns the next record with the number of its first line, or `nil` at the end of the file. Skips blank lines.
  ///
  /// A value is `nil` if there is nothing between two commas, and empty if there is `""`.
  func next(_ lines: inout LineReader) throws -> (line: Int, values: [String?])? {
    (values, isUTF8, ended) = ([], true, 0)
    var (start, length) = (0, 0)
    while ended == 0 {
      guard let line = try lines.next() else {
        if length == 0 { return nil }
        guard csv_fini(parser, Self.onValue, Self.onRecord, Unmanaged.passUnretained(self).toOpaque()) == 0 else {
          throw UserFileReader.Broken(line: start, "a quote that opens here is never closed")
        }
        break
      }
      if length == 0, line.allSatisfy({ $0 == CSV_CR || $0 == CSV_LF }) { continue }
      if length == 0 { start = lines.number }
      length += line.count
      guard length <= LineReader.limit else { throw UserFileReader.Broken(line: start, UserFileReader.tooLong) }
      let parsed = csv_parse(parser, line, line.count, Self.onValue, Self.onRecord, Unmanaged.passUnretained(self).toOpaque())
      guard parsed == line.count else {
        throw UserFileReader.Broken(line: lines.number, "a quote is misplaced; put the whole value in quotes, and double each quote inside it")
      }
      // libcsv also ends a record at a carriage return. `pstate` is 0 between records.
      guard ended == 0 || ended == 1 && parser.pointee.pstate == 0 else {
        throw UserFileReader.Broken(line: lines.number, "a carriage return is not followed by a line feed")
      }
    }
    guard isUTF8 else { throw UserFileReader.Broken(line: start, "this is not UTF-8") }
    return (start, values)
  }

  private static let onValue: @convention(c) (UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer?) -> Void = { bytes, count, context in
    guard let context else { return }
    let reader = Unmanaged<CSVReader>.fromOpaque(context).takeUnretainedValue()
    guard let bytes else { return reader.values.append(nil) }
    let text = String(validating: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    reader.isUTF8 = reader.isUTF8 && text != nil
    reader.values.append(text)
  }

  private static let onRecord: @convention(c) (Int32, UnsafeMutableRawPointer?) -> Void = { _, context in
    guard let context else { return }
    Unmanaged<CSVReader>.fromOpaque(context).takeUnretainedValue().ended += 1
  }
}
