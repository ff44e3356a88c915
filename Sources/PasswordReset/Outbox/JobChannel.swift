/// How a job leaves the service. Each channel has its own worker with its own sender, so that an outage of one delays no job of another.
public enum JobChannel: String, Sendable, CaseIterable {
  case email, webhook
}

extension JobKind {
  /// The channel whose worker handles the job.
  public var channel: JobChannel {
    switch self {
    case .resetRequest, .resetEmail, .changedNotice: .email
    case .webhook: .webhook
    }
  }
}
