import Credentials
import Foundation
import PasswordReset

extension AuditStore {
  /// Runs a change of a command. If `AFTER_RESET` prevents it, the audit records that.
  func recordingFailure<Result>(
    of command: String, _ id: UserID, _ change: () async throws(StoreError) -> Result
  ) async throws(StoreError) -> Result {
    do {
      return try await change()
    } catch {
      if case .afterReset(let reason) = error {
        try await append([AuditLine(AuditRecord(afterResetFailure: reason, userID: id), requestID: command, at: Date())])
      }
      throw error
    }
  }
}
