import Foundation
public import PasswordReset
import Subprocess
import SystemPackage

/// Sends each email by writing it to the standard input of a program, such as sendmail, msmtp or your own script.
public struct SendmailBackend: MailBackend {
  private let program: String
  private let arguments: [String]
  private let timeout: Int

  /// Creates a backend, or returns `nil` for a command that does not start with a path or that contains quotes or a
  /// placeholder within a word.
  /// - Parameters:
  ///   - command: `EMAIL_SENDMAIL_COMMAND`, which is split at spaces and not passed to a shell. `{sender}` and
  ///     `{recipient}` are replaced by the bare addresses.
  ///   - timeout: The time limit for the program, in seconds.
  public init?(command: String, timeout: Int) {
    let words = command.split(separator: " ").map(String.init)
    guard let program = words.first, program.hasPrefix("/"), !command.contains(where: { "\"'".contains($0) }),
      words.allSatisfy({ ["{sender}", "{recipient}"].contains($0) || !$0.contains("{") })
    else { return nil }
    (self.program, arguments, self.timeout) = (program, Array(words.dropFirst()), timeout)
  }

  /// Whether the program exists and may be run.
  public var isExecutable: Bool { FileManager.default.isExecutableFile(atPath: program) }

  public func send(_ message: EmailMessage) async throws(MailError) {
    let encoded = try MIMEEncoder.encode(message, as: .pipe)
    // Without `--` before it, an address that starts with a hyphen would be an option.
    guard arguments.prefix(while: { $0 != "{recipient}" }).contains("--") || !encoded.recipient.hasPrefix("-") else {
      throw .permanent(reason: "the stored address starts with a hyphen; put -- before {recipient} in EMAIL_SENDMAIL_COMMAND if it allows it")
    }
    let arguments = arguments.map { word in
      // Replace whole words, so that an address never becomes two words and is never searched for placeholders.
      switch word {
      case "{sender}": encoded.sender
      case "{recipient}": encoded.recipient
      default: word
      }
    }
    let status: TerminationStatus?
    do {
      status = try await run(arguments, input: Data(encoded.data))
    } catch is CancellationError {
      throw .unavailable(reason: "the service is stopping")
    } catch {
      throw .unavailable(reason: "cannot run \(program) of EMAIL_SENDMAIL_COMMAND; check the path and its permissions")
    }
    try check(status)
  }

  /// The environment of the program, which must not contain the secrets in the environment of the service.
  private static let environment: Environment = .custom(
    Dictionary(
      uniqueKeysWithValues: ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ"].compactMap { name in
        ProcessInfo.processInfo.environment[name].map { (Environment.Key(stringLiteral: name), $0) }
      }))

  /// Runs the program and returns how it ended, or `nil` after a timeout.
  private func run(_ arguments: [String], input: Data) async throws -> TerminationStatus? {
    try await withThrowingTaskGroup(of: TerminationStatus?.self) { group in
      group.addTask {
        // Discard the output, because it may contain addresses, which the log must not.
        try await Subprocess.run(
          .path(FilePath(program)), arguments: .init(arguments), environment: Self.environment, input: .inputWriter, output: .discarded,
          error: .discarded
        ) { execution in
          // A program may exit without reading everything. Its exit code says whether that is an error.
          _ = try? await execution.standardInputWriter.write(input)
          try? await execution.standardInputWriter.finish()
        }.terminationStatus
      }
      group.addTask { [timeout] in
        try await Task.sleep(for: .seconds(timeout))
        return nil
      }
      defer { group.cancelAll() }
      return try await group.next() ?? nil
    }
  }

  private func check(_ status: TerminationStatus?) throws(MailError) {
    switch status {
    case .exited(0): return
    // EX_DATAERR, EX_NOUSER and EX_NOHOST of sysexits.h refuse this email.
    case .exited(let code) where [65, 67, 68].contains(code): throw .permanent(reason: "\(program) ended with exit code \(code)")
    case .exited(let code):
      let reason = "\(program) ended with exit code \(code); check its log and EMAIL_SENDMAIL_COMMAND"
      // EX_CONFIG, and the codes of a shell that cannot run a program.
      throw [78, 126, 127].contains(code) ? .unavailable(reason: reason) : .transient(reason: reason)
    case nil: throw .transient(reason: "\(program) did not finish within \(timeout) s; raise EMAIL_TIMEOUT")
    default: throw .unavailable(reason: "\(program) was ended by a signal")
    }
  }
}
