public import Foundation
public import PasswordReset
import Synchronization

/// Django's separator between the messages of a stream.
private let separator = Data(("\n" + String(repeating: "-", count: 79) + "\n").utf8)

/// Writes mails to standard output: for development. Their HTML, which nobody reads on a terminal, is left out.
public final class ConsoleBackend: MailBackend {
  private let lock = Mutex(())

  public init() {}

  public func send(_ message: EmailMessage) async throws(MailError) {
    var message = message
    message.html = nil
    let data = try MIMEEncoder.encode(message, as: .readable).data + separator
    do {
      try lock.withLock { _ in try FileHandle.standardOutput.write(contentsOf: data) }
    } catch {
      throw .unavailable(reason: "standard output: \(error)")
    }
  }
}

/// Appends mails to a file in a folder, one file for each run: `20261120-220952-<id>.log`. The mails hold live links, so only the owner may read it.
public final class FileBackend: MailBackend {
  private let file: Mutex<FileHandle>

  /// Makes the folder and the file.
  /// - Parameter folder: `EMAIL_FILE_PATH`.
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
    let data = try MIMEEncoder.encode(message, as: .readable).data + separator
    do {
      try file.withLock { file in
        try file.write(contentsOf: data)
        try file.synchronize()
      }
    } catch {
      throw .unavailable(reason: "EMAIL_FILE_PATH: \(error)")
    }
  }
}

/// Drops every mail.
public struct DummyBackend: MailBackend {
  public init() {}

  public func send(_ message: EmailMessage) async throws(MailError) {}
}
