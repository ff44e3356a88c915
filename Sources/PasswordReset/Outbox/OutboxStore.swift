public import Credentials
public import Foundation

/// The durable job queue between a request and its email, and between an event and its webhook.
///
/// A lease is a job's `owner`, a random value per process, and the time until which no other process may claim it. A process does not
/// claim its own jobs again, so an owner that is late can tell whether a job is still its own. The exception: after ``orphanAge`` it claims
/// them, because it may have leases that it does not know of, if the commit that took them seemed to have failed.
public protocol OutboxStore: Sendable {
  /// Adds a job together with its audit record, and returns it when both are on disk.
  func enqueue(_ job: NewJob, audit: AuditRecord) async throws(StoreError) -> Job

  /// Leases up to `limit` due jobs of a channel, the longest overdue first, to `owner` until `leaseEnd`. The jobs of `owner` itself are due
  /// later, by ``orphanAge``. A job of an unknown kind belongs to ``JobChannel/email``.
  func claim(_ channel: JobChannel, limit: Int, owner: String, at now: Date, leaseEnd: Date) async throws(StoreError) -> [Job]

  /// Moves the ends of leases to `leaseEnd`, but never closer, and returns the ids of the jobs that `owner` still holds.
  func extendLeases(of ids: [Int64], owner: String, to leaseEnd: Date) async throws(StoreError) -> Set<Int64>

  /// Ends leases that `owner` holds, so that the jobs are due again at once. A released job does not count as attempted.
  func release(_ ids: [Int64], owner: String) async throws(StoreError)

  /// Commits how a job ended, its audit record, and the jobs that follow, which no one holds. If `owner` no longer holds the job it changes
  /// nothing and returns `false`, except that what was sent is never sent again by a later owner.
  func finish(_ job: Job, owner: String, _ outcome: JobOutcome, adding jobs: [NewJob], at now: Date) async throws(StoreError) -> Bool

  /// Deletes up to `limit` dead letters from before `date`, and returns how many it deleted.
  func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int

  /// Corrects times in the future that were recorded for jobs of a channel while the clock was ahead, and returns how many jobs this concerns.
  ///
  /// A job that was added or retried in the future counts from now. A job without an owner is due now if it would wait for
  /// longer than `longestWait` says, given its attempts, and a lease ends after `lease` seconds at the latest. A job that became a
  /// dead letter in the future was called too old or failed at a wrong time, and waits again. Times that are ahead by less than
  /// ``clockTolerance`` remain.
  /// - Parameter now: Returns the time. The store asks when it writes: with an earlier time, it would take the leases that other processes got
  ///   meanwhile for wrong.
  func correctTimes(_ channel: JobChannel, lease: TimeInterval, longestWait: OutboxWait, now: @escaping @Sendable () -> Date)
    async throws(StoreError) -> Int

  /// Returns when the next job of a channel that `owner` does not hold is due, or `nil` if there is none.
  func nextDue(_ channel: JobChannel, owner: String) async throws(StoreError) -> Date?

  /// Returns when an operator last retried jobs of a channel that still wait, or `nil` if there are none.
  func lastRetry(_ channel: JobChannel) async throws(StoreError) -> Date?

  /// Returns a stream for each channel with a value whenever another process may have added jobs, or no stream if the store cannot tell. The
  /// worker polls in any case.
  func jobNotifications() -> [JobChannel: AsyncStream<Void>]

  /// Counts an email against the limits of its address and those of all emails.
  ///
  /// An email counts once, however often it is attempted, and the count survives a restart.
  /// - Parameter now: Returns the time. The store asks as late as it can: by an earlier time, the emails that other processes counted meanwhile
  ///   would be in the future.
  func reserve(_ email: EmailReservation, now: @escaping @Sendable () -> Date) async throws(StoreError) -> EmailAllowance
}

extension OutboxStore {
  /// How many seconds after the end of its lease a job is claimed by its owner too. No store takes as long to say whether a commit failed.
  public static var orphanAge: TimeInterval { 30 }

  /// How far ahead a time may be, in milliseconds: longer than a store needs for a write.
  public static var clockTolerance: Int64 { 10_000 }

  public func jobNotifications() -> [JobChannel: AsyncStream<Void>] { [:] }
}

/// How long a job waits at most before its next attempt, in seconds.
public struct OutboxWait: Sendable {
  /// The wait after the first attempt; it doubles with each further one.
  public var first: TimeInterval
  /// The longest wait.
  public var longest: TimeInterval

  public init(first: TimeInterval, longest: TimeInterval) { (self.first, self.longest) = (first, longest) }

  /// A day: no limit of emails makes a job wait for longer.
  static let longest = OutboxWait(first: 86_400, longest: 86_400)

  /// No job waits.
  public static let zero = OutboxWait(first: 0, longest: 0)
}

/// An email that is about to be sent.
public struct EmailReservation: Sendable {
  /// The keyed hash of the address, or `nil` for an email that does not count against its address's limits.
  public var addressKey: String?
  /// Emails of one request to one address count against the limits of the address as one.
  public var requestID: String
  public var userID: UserID
  public var limits: [RateLimit]
  public var totalLimits: [RateLimit]

  public init(addressKey: String?, requestID: String, userID: UserID, limits: [RateLimit], totalLimits: [RateLimit]) {
    self.addressKey = addressKey
    self.requestID = requestID
    self.userID = userID
    self.limits = limits
    self.totalLimits = totalLimits
  }
}

/// Whether an email may be sent.
public enum EmailAllowance: Sendable, Equatable {
  case granted
  /// The address has reached its limit.
  case refused
  /// All emails together have reached their limit; try again then.
  case later(Date)
}
