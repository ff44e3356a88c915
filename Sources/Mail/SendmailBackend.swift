import Foundation
public import PasswordReset
import Subprocess
import SystemPackage

/// Hands each mail to a program on its standard input: sendmail, msmtp, or a script of your own.
public struct SendmailBackend: MailBackend {
  private let program: String
  private let arguments: [String]
  private let timeout: Int

  /// - Parameters:
  ///   - command: `EMAIL_SENDMAIL_COMMAND`, split at blanks; no shell reads it. `{sender}` and `{recipient}` stand for the bare addresses.
  ///   - timeout: seconds that it may take.
  /// Nil if it does not begin with a path, or would be read otherwise than it looks: with quotes, or a placeholder that is part of a word.
  public init?(command: String, timeout: Int) {
    let words = command.split(separator: " ").map(String.init)
    guard let program = words.first, program.hasPrefix("/"), !command.contains(where: { "\"'".contains($0) }),
      words.allSatisfy({ ["{sender}", "{recipient}"].contains($0) || !$0.contains("{") })
    else { return nil }
    (self.program, arguments, self.timeout) = (program, Array(words.dropFirst()), timeout)
  }

  /// Whether the program is there.
  public var isExecutable: Bool { FileManager.default.isExecutableFile(atPath: program) }

  public func send(_ message: EmailMessage) async throws(MailError) {
    let encoded = try MIMEEncoder.encode(message, as: .pipe)
    // Where no `--` says that options have ended, an address must not be one.
    guard arguments.prefix(while: { $0 != "{recipient}" }).contains("--") || !encoded.recipient.hasPrefix("-") else {
      throw .permanent(reason: "the stored address begins with a hyphen; put -- before {recipient} in EMAIL_SENDMAIL_COMMAND if the program knows it")
    }
    let arguments = arguments.map { word in
      // A word at a time, so that an address never becomes two words, and none is read as the other's place.
      switch word {
      case "{sender}": encoded.sender
      case "{recipient}": encoded.recipient
      default: word
      }
    }
    let status: TerminationStatus?
    do {
      status = try await run(arguments, input: encoded.data)
    } catch is CancellationError {
      throw .unavailable(reason: "the service is stopping")
    } catch {
      throw .unavailable(reason: "EMAIL_SENDMAIL_COMMAND: \(program) cannot be run; check the path and its permissions")
    }
    try check(status)
  }

  /// Our own environment holds secrets, which are none of the program's.
  private static let environment: Environment = .custom(
    Dictionary(
      uniqueKeysWithValues: ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ"].compactMap { name in
        ProcessInfo.processInfo.environment[name].map { (Environment.Key(stringLiteral: name), $0) }
      }))

  /// How the program ended; nil if its time ran out.
  private func run(_ arguments: [String], input: Data) async throws -> TerminationStatus? {
    try await withThrowingTaskGroup(of: TerminationStatus?.self) { group in
      group.addTask {
        // What it says may hold addresses, which no log of ours may.
        try await Subprocess.run(
          .path(FilePath(program)), arguments: .init(arguments), environment: Self.environment, input: .inputWriter, output: .discarded,
          error: .discarded
        ) { execution in
          // A program may end without reading all; its exit code tells what that means.
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
    // EX_DATAERR, EX_NOUSER and EX_NOHOST of sysexits.h: this mail is at fault.
    case .exited(let code) where [65, 67, 68].contains(code): throw .permanent(reason: "\(program) ended with exit code \(code)")
    case .exited(let code):
      let reason = "\(program) ended with exit code \(code); check its log, or EMAIL_SENDMAIL_COMMAND"
      // EX_CONFIG, and a shell's codes for what cannot be run.
      throw [78, 126, 127].contains(code) ? .unavailable(reason: reason) : .transient(reason: reason)
    case nil: throw .transient(reason: "\(program) took over \(timeout) s; raise EMAIL_TIMEOUT")
    default: throw .unavailable(reason: "\(program) was killed")
    }
  }
}
