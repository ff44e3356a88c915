// Takes a user through the flow with the Go client of openapi-generator.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	client "example.com/reset/client"
)

const good = "battery-staple-92-new"

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(condition bool) {
	if !condition {
		panic("a value is not what the contract says")
	}
}

// model returns the problem document in an error.
func model[Model any](err error) Model {
	var failure *client.GenericOpenAPIError
	check(errors.As(err, &failure))
	problem, fits := failure.Model().(Model)
	check(fits)
	return problem
}

func main() {
	configuration := client.NewConfiguration()
	configuration.Servers[0].URL = os.Args[1]
	api := client.NewAPIClient(configuration).ResetAPI
	background := context.Background()

	body := client.NewResetRequest()
	body.SetEmail("alice@")
	_, _, err := api.RequestPasswordReset(background).ResetRequest(*body).Execute()
	mistyped := model[client.RequestProblem](err)
	check(mistyped.Errors.Email[0].Code == client.INVALID)
	fmt.Println("refused:", mistyped.Code, mistyped.Errors.Email[0].Code)
	body.SetEmail("alice@example.com")
	body.SetLocale("en")
	accepted, _, err := api.RequestPasswordReset(background).ResetRequest(*body).Execute()
	must(err)
	fmt.Println("accepted:", accepted.Detail)
	var uid, token string
	_, err = fmt.Scan(&uid, &token)
	must(err)

	state, _, err := api.CheckResetLink(background, uid, token).Execute()
	must(err)
	check(state.ExpiresAt.After(time.Now()))
	fmt.Println("valid:", len(state.PasswordRules), "rules")
	set := func(password string) (*client.PasswordSet, error) {
		body := client.NewNewPassword(password)
		body.SetNewPassword2(password)
		result, _, err := api.SetPassword(background, uid, token).NewPassword(*body).Execute()
		return result, err
	}
	_, err = set("1234")
	weak := model[client.PasswordProblem](err)
	first := weak.Errors.NewPassword2[0]
	check(*weak.Validlink && first.Code == client.PASSWORD_TOO_SHORT)
	fmt.Println("refused:", weak.Code, first.Code, *first.Params.MinLength)
	done, err := set(good)
	must(err)
	fmt.Println("set:", done.Detail)
	_, err = set(good)
	second := model[client.PasswordProblem](err)
	check(second.Errors == nil)
	fmt.Println("refused:", second.Code)
	state, _, err = api.CheckResetLink(background, uid, token).Execute()
	must(err)
	check(!state.Validlink && *state.Code == client.INVALID_LINK)
	fmt.Println("used:", *state.Code)
	cancelled, _, err := api.CancelResetLinks(background, uid, token).Execute()
	must(err)
	fmt.Println("cancelled:", cancelled.Detail)
}
