import Credentials
import Foundation
import PasswordReset

/// A job as a statement reads it from JSON, whose members are the columns of the outbox.
struct JobDocument: Encodable {
  private let kind: String
  private let identifier, userID, locale: String?
  private let requestID: String
  private let createdAt, dueAt: Int64
  private let owner: String?
  private let attempts: Int

  init(_ job: NewJob) {
    let columns = job.kind.columns
    (kind, identifier, userID) = (columns.kind, columns.identifier, columns.userID?.text)
    (locale, requestID, owner, attempts) = (job.locale, job.requestID, job.owner, job.firstAttempts)
    (createdAt, dueAt) = (job.createdAt.milliseconds, job.due.milliseconds)
  }

  /// Returns the jobs as a JSON array.
  static func json(_ jobs: [NewJob]) throws(StoreError) -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    do {
      return String(decoding: try encoder.encode(jobs.map(JobDocument.init)), as: UTF8.self)
    } catch {
      throw .unavailable(reason: "\(error)")
    }
  }
}

extension NewJob {
  /// A job with an owner is leased from the start, which is its first attempt.
  var firstAttempts: Int { owner == nil ? 0 : 1 }

  func stored(as id: Int64) -> Job {
    Job(
      id: id, kind: kind, locale: locale, requestID: requestID, createdAt: createdAt, ttlStart: createdAt, attempts: firstAttempts)
  }
}
