"""The refusals of the Airtable API, with the bodies seen in the field (Airtable facts §4)."""

from typing import Any


class Refusal(Exception):
    """An answer other than success: an HTTP status and a JSON body."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None):
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}


def refusal(status: int, type_: str, message: str | None = None) -> Refusal:
    """Build a refusal of the common form `{"error": {"type", "message"}}`."""
    error = {"type": type_} if message is None else {"type": type_, "message": message}
    return Refusal(status, {"error": error})


def not_found() -> Refusal:
    """Malformed path or id, or an unknown route: the error is a plain string."""
    return Refusal(404, {"error": "NOT_FOUND"})


def model_not_found() -> Refusal:
    """Unknown base or table, or a record that is not there on a single GET."""
    return refusal(
        403,
        "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND",
        "Invalid permissions, or the requested model was not found. Check that both your user and "
        "your token have the required permissions, and that the model names and/or ids are "
        "correct.",
    )


def record_not_found() -> Refusal:
    """Single PATCH, PUT or DELETE of a record that is not there."""
    return refusal(404, "MODEL_ID_NOT_FOUND", "Record not found")


def row_does_not_exist(record_id: str) -> Refusal:
    """Batch write naming a record that is not there."""
    return refusal(422, "ROW_DOES_NOT_EXIST", f"Record ID {record_id} does not exist in this table")


def bad_parameters(message: str | None = None) -> Refusal:
    """Parameters of the wrong type or out of range."""
    return refusal(
        422,
        "INVALID_REQUEST_UNKNOWN",
        message or "Invalid request: parameter validation failed. Check your request data.",
    )


def unknown_field(name: str) -> Refusal:
    """A field that the table does not have, in a write, `fields[]`, `sort` or a merge key."""
    return refusal(422, "UNKNOWN_FIELD_NAME", f'Unknown field name: "{name}"')


def invalid_records(message: str | None = None) -> Refusal:
    """A batch that is not a list of up to ten record objects."""
    return refusal(
        422,
        "INVALID_RECORDS",
        message
        or "You must provide an array of up to 10 record objects, each with an "
        '"id" ID field and a "fields" object for cell values.',
    )


def repeated_record() -> Refusal:
    """A batch that updates one record more than once."""
    return invalid_records("You cannot update the same record multiple times in a single request.")


def invalid_value(message: str) -> Refusal:
    """A cell value that the field does not take."""
    return refusal(422, "INVALID_VALUE_FOR_COLUMN", message)


def computed_field(name: str) -> Refusal:
    """A write to a field whose value Airtable computes."""
    return invalid_value(f'Field "{name}" cannot accept a value because the field is computed')


def unacceptable(name: str) -> Refusal:
    """A cell value of the wrong kind."""
    return invalid_value(f'Field "{name}" cannot accept the provided value')


def unknown_choice(choice: str) -> Refusal:
    """A select option that does not exist, without typecast. The doubled quotes are real."""
    return refusal(
        422,
        "INVALID_MULTIPLE_CHOICE_OPTIONS",
        f'Insufficient permissions to create new select option ""{choice}""',
    )


def invalid_formula(reason: str) -> Refusal:
    """A `filterByFormula` that cannot be used."""
    return refusal(
        422,
        "INVALID_FILTER_BY_FORMULA",
        f"The formula for filtering records is invalid: {reason}",
    )


def missing_fields() -> Refusal:
    """A write without the object of cell values."""
    return refusal(
        422, "INVALID_REQUEST_MISSING_FIELDS", 'Could not find field "fields" in the request body'
    )


def table_not_found(table: str, base_id: str) -> Refusal:
    """The older answer for an unknown table."""
    return refusal(404, "TABLE_NOT_FOUND", f"Could not find table {table} in application {base_id}")


def not_permitted() -> Refusal:
    """The token lacks a scope."""
    return refusal(403, "INVALID_PERMISSIONS", "You are not permitted to perform this operation")
