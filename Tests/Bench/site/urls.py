from django.urls import include, path

from views import LinkView

urlpatterns = [
    # The name by which the mail's template finds it.
    path("password/reset/<uidb64>/<token>/", LinkView.as_view(), name="password_reset_confirm"),
    path("", include("dj_rest_auth.urls")),
]
