public import Foundation
public import PasswordReset
import Synchronization

/// Appends emails to a file in a folder. Each run of the service has its own file, such as `20261120-220952-<id>.log`.
///
/// Only the owner may read the file, because the emails contain links that work.
public final class FileBackend: MailBackend {
  private let file: Mutex<FileHandle>

  /// Creates the folder and the file.
  /// - Parameters:
  ///   - folder: `EMAIL_FILE_PATH`.
  ///   - now: The time in the name of the file.
  public init(folder: String, now: Date) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    let time = now.ISO8601Format(.init(dateSeparator: .omitted, dateTimeSeparator: .space, timeSeparator: .omitted, timeZone: .gmt))
      .replacingOccurrences(of: " ", with: "-").replacingOccurrences(of: "Z", with: "")
    let path = "\(folder)/\(time)-\(UUID().uuidString.prefix(8).lowercased()).log"
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw CocoaError(.fileWriteNoPermission, userInfo: [NSFilePathErrorKey: path]) }
    file = Mutex(FileHandle(fileDescriptor: descriptor, closeOnDealloc: true))
  }

  public func send(_ message: EmailMessage) async throws(MailError) {
    let data = try message.readableData()
    do {
      try file.withLock { file in
        try file.write(contentsOf: data)
        try file.synchronize()
      }
    } catch {
      throw .unavailable(reason: "cannot write to EMAIL_FILE_PATH: \(error)")
    }
  }
}
