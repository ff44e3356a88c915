// Takes a user through the flow with the models of openapi-generator's Kotlin client, over Java's HTTP client.
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse.BodyHandlers
import java.time.OffsetDateTime
import kotlinx.serialization.decodeFromString
import kotlinx.serialization.encodeToString
import org.openapitools.client.infrastructure.Serializer.kotlinxSerializationJson as json
import org.openapitools.client.models.*

const val GOOD = "battery-staple-92-new"

fun main(arguments: Array<String>) {
    val client = HttpClient.newHttpClient()

    fun call(path: String, status: Int, body: String? = null): String {
        val request = HttpRequest.newBuilder(URI(arguments[0] + path))
        if (body != null) request.header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body))
        val response = client.send(request.build(), BodyHandlers.ofString())
        check(response.statusCode() == status) { response.body() }
        return response.body()
    }

    fun request(status: Int, body: ResetRequest) = call("/password-reset", status, json.encodeToString(body))

    val mistyped = json.decodeFromString<RequestProblem>(request(400, ResetRequest(email = "alice@")))
    val mistake = mistyped.errors!!.email!!.first().code
    check(mistyped.code == RequestProblem.Code.validation_error && mistake == FieldErrorCode.invalid)
    println("refused: ${mistyped.code.value} ${mistake.value}")
    println("accepted: ${json.decodeFromString<Accepted>(request(202, ResetRequest(email = "alice@example.com", locale = "en"))).detail}")
    val path = "/password-reset/" + readln().replace(' ', '/')

    val state = json.decodeFromString<LinkState>(call(path, 200))
    check(state.expiresAt!! > OffsetDateTime.now())
    println("valid: ${state.passwordRules!!.size} rules")

    fun set(status: Int, password: String) = call(path, status, json.encodeToString(NewPassword(password, password)))

    val weak = json.decodeFromString<PasswordProblem>(set(400, "1234"))
    val first = weak.errors!!.newPassword2!!.first()
    check(weak.validlink == true && first.code == FieldErrorCode.password_too_short)
    println("refused: ${weak.code.value} ${first.code.value} ${first.params!!.minLength}")
    println("set: ${json.decodeFromString<PasswordSet>(set(200, GOOD)).detail}")
    val second = json.decodeFromString<PasswordProblem>(set(400, GOOD))
    check(second.code == PasswordProblem.Code.invalid_link && second.errors == null)
    println("refused: ${second.code.value}")
    val used = json.decodeFromString<LinkState>(call(path, 200))
    check(!used.validlink && used.code == LinkCode.invalid_link)
    println("used: ${used.code!!.value}")
    println("cancelled: ${json.decodeFromString<Cancelled>(call("$path/cancel", 200, "{}")).detail}")
}
