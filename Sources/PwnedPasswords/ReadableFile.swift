import Foundation
import SystemPackage

/// A file that is read at any position, from any thread.
///
/// It is read and not mapped into memory: if someone shortens a mapped file, or its disk fails, the next access ends the process.
final class ReadableFile: Sendable {
  /// What changes when someone replaces the file or writes to it.
  struct Version: Equatable {
    private let device: UInt64
    private let node: UInt64
    private let seconds: Int
    private let nanoseconds: Int
    let size: Int

    /// Returns the version of the file at a path, or `nil` if there is none.
    init?(path: String) {
      var status = stat()
      guard stat(path, &status) == 0 else { return nil }
      self.init(status)
    }

    fileprivate init(_ status: stat) {
      (device, node) = (UInt64(status.st_dev), UInt64(status.st_ino))
      (seconds, nanoseconds, size) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec, Int(status.st_size))
    }
  }

  let version: Version
  private let descriptor: FileDescriptor

  init(path: String) throws(PwnedFileError) {
    do { descriptor = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) } catch { throw PwnedFileError(error) }
    var status = stat()
    guard fstat(descriptor.rawValue, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      // The error that follows says more.
      try? descriptor.close()
      throw PwnedFileError("it is not a regular file")
    }
    version = Version(status)
  }

  // Nothing was written, so nothing can be lost.
  deinit { try? descriptor.close() }

  /// Returns the bytes in the range, all of which must be in the file.
  func bytes(_ range: Range<Int>) throws(PwnedFileError) -> [UInt8] {
    let bytes: [UInt8]
    do {
      bytes = try [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
        while count < range.count {
          let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count...])
          let read = try descriptor.read(fromAbsoluteOffset: Int64(range.lowerBound + count), into: rest)
          if read == 0 { break }
          count += read
        }
      }
    } catch { throw PwnedFileError(error) }
    guard bytes.count == range.count else { throw PwnedFileError("it is truncated") }
    return bytes
  }
}

/// Why a file with leaked passwords cannot be used.
public struct PwnedFileError: Error, CustomStringConvertible, Equatable {
  /// What is wrong with the file, as the rest of a sentence.
  public let description: String

  init(_ description: String) { self.description = description }

  init(_ error: any Error) { description = (error as? Errno).map { "it cannot be read: \($0)" } ?? "\(error)" }
}
