"""A function's environment variables in the local run: those that the template gives it, and no other."""

from collections.abc import Mapping

from local.template import Template, TemplateError, read_limits, read_variables

# A person's shell may hold any of these; the functions must see only what is set for them here.
_KEPT_OUT = (
    "AWS_",
    "UPSTREAM_",
    "POWERTOOLS_",
    "LAMBDA_",
    "TABLE_NAME",
    "RETENTION_",
    "POLL_INTERVAL_",
    "NOTIFICATION_",
    "NOTIFY_",
)
_LOOPBACK = ("127.0.0.1", "localhost")


def build_base_environment(environment: Mapping[str, str], *hosts: str) -> dict[str, str]:
    """A process's variables without those that would reach into a function, an AWS client or a call here.

    `hosts` are addresses of this machine beside 127.0.0.1.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith(_KEPT_OUT)}
    # Everything that is called on this machine is called directly, whatever proxy leads out of it.
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, (environment.get(name), *dict.fromkeys((*_LOOPBACK, *hosts)))))
    return kept | {"PYTHONUNBUFFERED": "1"}


def build_function_environment(
    template: Template,
    logical_id: str,
    *,
    base: Mapping[str, str],
    aws: Mapping[str, str],
    values: Mapping[str, str],
) -> dict[str, str]:
    """`base`, Lambda's own variables, and those that the template declares for this function.

    A function that reads a variable which the template does not give it fails here as it would in AWS.
    Raises TemplateError for a declared one that has no value here.
    """
    limits = read_limits(template, logical_id)
    return {
        **base,
        **aws,
        "AWS_LAMBDA_FUNCTION_NAME": logical_id,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(limits.memory_mb),
        **fill_variables(template, logical_id, values),
    }


def fill_variables(template: Template, logical_id: str, values: Mapping[str, str]) -> dict[str, str]:
    """The variables that the template declares for a function; `values` wins over the template's defaults.

    Raises TemplateError for one that has no value here.
    """
    declared = {}
    for name, value in read_variables(template, logical_id).items():
        if name in values:
            declared[name] = values[name]
        elif isinstance(value, dict):
            raise TemplateError(
                f"{logical_id} gets {name} from CloudFormation; the local run has no value for it"
            )
        else:
            declared[name] = str(value)
    return declared
