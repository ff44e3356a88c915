import Credentials
import Foundation

/// Makes the jobs that report events to the site's webhook, if it subscribes to them.
public struct WebhookReports: Sendable {
  private let events: Set<WebhookEvent>
  let leases: LeaseKeeper

  /// - Parameter leases: The leases of the webhook channel.
  public init(_ events: Set<WebhookEvent>, leases: LeaseKeeper) {
    self.events = events
    self.leases = leases
  }

  /// Returns the job that reports an event, or nothing if the site does not subscribe to it. Afterwards ``LeaseKeeper/start(_:_:)`` or
  /// ``LeaseKeeper/cancel(_:)`` must be called for it.
  func makeJobs(_ event: WebhookEvent, userID: UserID?, requestID: String) -> [NewJob] {
    events.contains(event) ? [leases.makeJob(event.makeKind(userID: userID), locale: nil, requestID: requestID)] : []
  }

  /// Returns the jobs that report how the job of an email ended. They are leased to no one.
  func jobs(after outcome: JobOutcome, of job: Job, at now: Date) -> [NewJob] {
    let (event, userID): (WebhookEvent, UserID?)
    switch (outcome, job.kind) {
    // Not the request itself, because only now is it known whom it concerns.
    case (.done(let audit?), .resetRequest), (.done(let audit?), .resetEmail):
      guard audit.event == .mailed else { return [] }
      (event, userID) = (.requested, audit.userID)
    case (.deadLetter(_, let audit), .resetRequest), (.deadLetter(_, let audit), .resetEmail), (.deadLetter(_, let audit), .changedNotice):
      (event, userID) = (.mailFailed, audit?.userID ?? job.kind.columns.userID)
    default: return []
    }
    return events.contains(event) ? [event.makeJob(userID: userID, requestID: job.requestID, at: now)] : []
  }
}
