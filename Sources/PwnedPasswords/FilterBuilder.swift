import SystemPackage

/// Makes a filter file from the published list.
public struct FilterBuilder {
  /// What was built.
  public struct Summary: Sendable {
    /// The number of hashes in the list.
    public let listed: Int
    /// The number of entries in the filter.
    public let entries: Int
    /// The size of the filter in bytes.
    public let bytes: Int
    /// The probability that the filter contains a password that is not in the list.
    public let falsePositiveRate: Double
  }

  private let reader: HashListReader
  private let minimumCount: Int

  /// - Parameters:
  ///   - list: The path of the list, or of the folder with its range files.
  ///   - minimumCount: How often a password must have been found in leaks to be in the filter.
  ///   - allowsMissingRanges: Whether range files may be missing in a folder.
  ///   - onProgress: Called now and then with the share of the list that was read.
  public init(list: String, minimumCount: Int = 1, allowsMissingRanges: Bool = false, onProgress: @escaping (Double) -> Void = { _ in }) {
    reader = HashListReader(path: list, allowsMissingRanges: allowsMissingRanges, onProgress: onProgress)
    self.minimumCount = minimumCount
  }

  /// Builds the filter and replaces the file at `path` with it at once. Throws ``PwnedFileError``, and leaves the file as it was, if that fails.
  public func build(at path: String) throws(PwnedFileError) -> Summary {
    let writer: FilterWriter
    do { writer = try FilterWriter(path: path) } catch { throw Self.unwritable(path, error) }
    do {
      return try build(writer)
    } catch {
      writer.cancel()
      throw error as? PwnedFileError ?? Self.unwritable(path, error)
    }
  }

  private func build(_ writer: FilterWriter) throws -> Summary {
    var listed = 0
    var last: SHA1Hash?
    try reader.forEachLine { line, place in
      if let last, last >= line.hash { throw PwnedFileError("\(place()): the list is not sorted by hash, or has this hash twice") }
      last = line.hash
      listed += 1
      if line.count >= minimumCount { try writer.add(line.hash) }
    }
    guard let last else { throw PwnedFileError("\(reader.path) is empty") }
    if !reader.allowsMissingRanges, let reason = incompleteness(last: last, count: listed) {
      throw PwnedFileError("\(reader.path) is incomplete: \(reason)")
    }
    guard writer.count > 0 else { throw PwnedFileError("\(reader.path) has no password with a count of at least \(minimumCount)") }
    let bytes = try writer.finish(minimumCount: minimumCount)
    return Summary(
      listed: listed, entries: writer.count, bytes: bytes, falsePositiveRate: FilterFormat.falsePositiveRate(count: writer.count))
  }

  private static func unwritable(_ path: String, _ error: any Error) -> PwnedFileError { PwnedFileError("\(path) cannot be written: \(error)") }
}
