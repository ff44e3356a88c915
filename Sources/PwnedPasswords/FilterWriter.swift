import Foundation
import SystemPackage

/// Writes a filter file. The file has another name until it is complete, so that a service never reads a part of it.
final class FilterWriter {
  private static let bufferSize = 1 << 20

  private let path: String
  private let partial: String
  private let file: FileDescriptor
  private var buffer: [UInt8] = []
  private var index: [Int] = []
  private var last: UInt64?
  private(set) var count = 0

  init(path: String) throws {
    self.path = path
    partial = "\(path).partial-\(UUID().uuidString.prefix(8))"
    // Every user may read it: the list is public.
    file = try FileDescriptor.open(
      FilePath(partial), .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
    try file.seek(offset: Int64(FilterFormat.size), from: .start)
    buffer.reserveCapacity(Self.bufferSize)
  }

  /// Adds a hash, which must not be before the last one. Hashes with the same first 48 bits share an entry.
  func add(_ hash: SHA1Hash) throws {
    guard hash.high >> 16 != last else { return }
    last = hash.high >> 16
    let bucket = FilterFormat.bucket(hash)
    while index.count <= bucket { index.append(count) }
    let entry = FilterFormat.entry(hash)
    for shift: UInt32 in [24, 16, 8, 0] { buffer.append(UInt8(truncatingIfNeeded: entry >> shift)) }
    count += 1
    if buffer.count >= Self.bufferSize { try flush() }
  }

  /// Writes the header, syncs the file, and gives it its name. Returns its size.
  func finish(minimumCount: Int) throws -> Int {
    try flush()
    while index.count <= FilterFormat.bucketCount { index.append(count) }
    try file.writeAll(toAbsoluteOffset: 0, FilterFormat(index: index, minimumCount: minimumCount).bytes)
    guard fsync(file.rawValue) == 0, rename(partial, path) == 0 else { throw Errno(rawValue: errno) }
    // Everything is on disk already.
    try? file.close()
    syncFolder()
    return FilterFormat.size + FilterFormat.entrySize * count
  }

  /// Removes what was written.
  func cancel() {
    // The file is removed next.
    try? file.close()
    unlink(partial)
  }

  private func flush() throws {
    try file.writeAll(buffer)
    buffer.removeAll(keepingCapacity: true)
  }

  /// The file is complete even if the folder cannot be synced, for example because this process may not read it.
  private func syncFolder() {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    guard let descriptor = try? FileDescriptor.open(FilePath(folder), .readOnly, options: .closeOnExec) else { return }
    _ = fsync(descriptor.rawValue)
    // Nothing was written through it.
    try? descriptor.close()
  }
}
