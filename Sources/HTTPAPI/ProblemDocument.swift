import Credentials
import HTTPTypes
import Localization
import PasswordReset
public import Text

/// The JSON body of a problem document.
struct ProblemDocument: Encodable {
  var type: String
  var title: String
  var status: Int
  var code: String
  var detail: String
  var validlink: Bool?
  var request_id: String
  var errors: [String: [FieldErrorDocument]]?

  init(_ problem: Problem, requestID: String) {
    let code = problem.code
    type = "urn:password-reset:problem:\(code.rawValue)"
    title = code.title
    status = code.status.code
    self.code = code.rawValue
    detail = problem.detail
    validlink = problem.validlink
    request_id = requestID
    errors = problem.errors?.fields.mapValues { $0.map { FieldErrorDocument($0, in: problem.language) } }
  }
}

struct FieldErrorDocument: Encodable {
  var code: String
  var message: String
  var params: [String: LocalizableMessage.Parameter]?

  init(_ error: FieldError, in language: Language?) {
    code = error.code
    message = language?.text(of: error.localizableMessage) ?? error.message
    params = error.localizableMessage.parameters.isEmpty ? nil : error.localizableMessage.parameters
  }
}

extension LocalizableMessage.Parameter: Encodable {
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .int(let number): try container.encode(number)
    case .string(let text): try container.encode(text)
    }
  }
}
