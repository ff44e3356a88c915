import ArgumentParser
import Foundation
import NIOCore
import PasswordReset

/// An error that the operator can fix. The command prints the message on standard error and exits with the code.
struct CommandError: Error {
  /// `EX_CONFIG` of sysexits.h.
  static let configuration: Int32 = 78
  /// `EX_USAGE` of sysexits.h.
  static let usage: Int32 = 64

  var message: String
  var code: Int32 = 1

  /// Runs the work of a command, and turns each error that the operator can fix into a message and an exit code.
  static func withExitCodes<Result>(_ work: () async throws -> Result) async throws -> Result {
    do {
      return try await work()
    } catch let error as CommandError {
      throw exit(error.message, error.code)
    } catch let error as UserDocument.Fault {
      throw exit(error.reason, 1)
    } catch let error as SettingsError {
      throw exit("\(error)", configuration)
    } catch let error as StoreOpenError {
      // A supervisor may restart the service: the lock may be gone, or the server back, a moment later.
      throw exit("\(error)", [.locked, .unreachable].contains(error.kind) ? 1 : configuration)
    } catch let error as StoreError {
      throw exit("Cannot use the database: \(error)", 1)
    }
  }

  private static func exit(_ message: String, _ code: Int32) -> ExitCode {
    printError(message)
    return ExitCode(code)
  }

  /// Runs a listener. If it cannot listen, the error names the settings to change.
  static func ofListening(host: String, port: Int, names: String, _ work: () async throws -> Void) async throws {
    // Exit code 1, so that a supervisor restarts the service: the port may be free, or the host known, a moment later.
    func error(_ reason: String) -> CommandError {
      CommandError(message: "Cannot listen on \(host):\(port): \(reason). Free the port, or change \(names).")
    }
    do {
      try await work()
    } catch let ioError as IOError {
      throw error(String(cString: strerror(ioError.errnoCode)))
    } catch is SocketAddressError.UnknownHost {
      throw error("there is no such host")
    }
  }
}
