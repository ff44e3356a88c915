// Takes a user through the flow with the TypeScript client of openapi-generator.
import {
  Configuration, FieldErrorCode, LinkCode, PasswordProblem, PasswordProblemCodeEnum, PasswordProblemFromJSON, RequestProblemFromJSON, ResetApi,
  ResponseError,
} from "./client";

// Debian has no package with Node's types.
declare const process: any;
declare function require(name: string): any;

const good = "battery-staple-92-new";
const api = new ResetApi(new Configuration({ basePath: process.argv[2] }));

async function refusal(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ResponseError) return error.response.json();
    throw error;
  }
  throw new Error("this must be refused");
}

function check(condition: boolean): void {
  if (!condition) throw new Error("a value is not what the contract says");
}

async function run(): Promise<void> {
  const mistyped = RequestProblemFromJSON(await refusal(api.requestPasswordReset({ resetRequest: { email: "alice@" } })));
  check(mistyped.errors?.email?.[0].code === FieldErrorCode.Invalid);
  console.log("refused:", mistyped.code, mistyped.errors?.email?.[0].code);
  const accepted = await api.requestPasswordReset({ resetRequest: { email: "alice@example.com", locale: "en" } });
  console.log("accepted:", accepted.detail);
  const [uidb64, token]: string[] = require("fs").readFileSync(0, "utf8").trim().split(" ");

  const state = await api.checkResetLink({ uidb64, token });
  check(state.expiresAt !== undefined && state.expiresAt.getTime() > Date.now());
  console.log("valid:", state.passwordRules?.length, "rules");
  const set = (password: string) => api.setPassword({ uidb64, token, newPassword: { newPassword1: password, newPassword2: password } });
  const weak: PasswordProblem = PasswordProblemFromJSON(await refusal(set("1234")));
  const first = weak.errors?.newPassword2?.[0];
  check(weak.validlink === true && first?.code === FieldErrorCode.PasswordTooShort);
  console.log("refused:", weak.code, first?.code, first?.params?.minLength);
  console.log("set:", (await set(good)).detail);
  const second = PasswordProblemFromJSON(await refusal(set(good)));
  check(second.code === PasswordProblemCodeEnum.InvalidLink && second.errors === undefined);
  console.log("refused:", second.code);
  const used = await api.checkResetLink({ uidb64, token });
  check(!used.validlink && used.code === LinkCode.InvalidLink);
  console.log("used:", used.code);
  console.log("cancelled:", (await api.cancelResetLinks({ uidb64, token })).detail);
}

run().catch((error) => {
  console.error(error);
  process.exit(1);
});
