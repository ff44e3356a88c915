import Credentials
public import Logging
public import ServiceLifecycle

/// Deletes the former passwords of users whom the site has deleted.
///
/// The site does not report that it deletes a user, and our tables have no foreign keys. So each user with former passwords is
/// looked up by key once an hour, in small batches with pauses, so that requests do not wait for the database.
public struct DeletedUserCleanup: Service {
  private static let interval = Duration.seconds(3600)
  private static let pause = Duration.seconds(1)
  private static let batch = 100

  private let users: any UserStore
  private let logger: Logger

  /// Creates the service for one store.
  public init(users: any UserStore, logger: Logger) { (self.users, self.logger) = (users, logger) }

  /// Works until the graceful shutdown.
  public func run() async {
    var last: UserID?
    while !Task.isShuttingDownGracefully, !Task.isCancelled {
      do {
        last = try await cleanBatch(after: last)
      } catch {
        logger.error("Cannot delete the former passwords of deleted users", metadata: ["reason": "\(error)"])
        last = nil
      }
      let wait = last == nil ? Self.interval : Self.pause
      // A graceful shutdown ends the wait.
      try? await cancelWhenGracefulShutdown { try await Task.sleep(for: wait) }
    }
  }

  /// Returns the last user of the batch, or `nil` if no user follows.
  private func cleanBatch(after last: UserID?) async throws(StoreError) -> UserID? {
    let ids = try await users.usersWithFormerPasswords(after: last, limit: Self.batch)
    // A damaged row counts as deleted: its user cannot set a password here.
    for id in ids where try await users.user(id: id) == nil { try await users.deleteFormerPasswords(of: id) }
    return ids.count == Self.batch ? ids.last : nil
  }
}
