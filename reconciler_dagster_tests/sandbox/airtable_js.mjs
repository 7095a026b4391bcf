// Drives the sandbox with the npm package `airtable`; prints what it saw as one JSON object.
import Airtable from "airtable";

const [endpointUrl, apiKey, baseId] = process.argv.slice(2);
const base = new Airtable({ endpointUrl, apiKey, noRetryIfRateLimited: false }).base(baseId);
const leads = base("Leads");
const seen = {};

const pages = [];
await leads.select({ pageSize: 7, fields: ["Lead", "ICP Score"] }).eachPage((records, next) => {
  pages.push(records.length);
  next();
});
seen.pages = pages;

const sorted = await leads
  .select({ sort: [{ field: "ICP Score", direction: "desc" }], maxRecords: 5 })
  .firstPage();
seen.sorted = sorted.map((record) => record.get("ICP Score"));

const made = await leads.create([{ fields: { Lead: "One" } }, { fields: { Lead: "Two" } }]);
seen.made = made.map((record) => record.get("Lead"));
const single = await leads.create({ Lead: "Three", "Lead Source": "Podcast" }, { typecast: true });
seen.source = single.get("Lead Source");

const updated = await leads.update([{ id: made[0].id, fields: { Notes: "hi" } }]);
seen.notes = updated[0].get("Notes");
await updated[0].patchUpdate({ Notes: null });
seen.cleared = (await leads.find(made[0].id)).get("Notes") === undefined;
const replaced = await leads.replace(made[1].id, { Lead: "Two again" });
seen.replaced = replaced.fields.Lead;
const upserted = await leads.update(
  [{ fields: { Lead: "One", Notes: "merged" } }, { fields: { Lead: "Four" } }],
  { performUpsert: { fieldsToMergeOn: ["Lead"] } },
);
seen.upserted = upserted.map((record) => record.id === made[0].id);

const found = await leads.select({ filterByFormula: "AND({Lead} = 'One', {Notes} = 'merged')" }).all();
seen.found = found.map((record) => record.id === made[0].id);
const long = "OR(" + Array(900).fill("RECORD_ID() = 'recAAAAAAAAAAAAAA'").join(",") + ")";
seen.long = (await leads.select({ filterByFormula: long }).all()).length;
const text = await leads
  .select({ cellFormat: "string", timeZone: "UTC", userLocale: "en-gb", maxRecords: 1 })
  .firstPage();
seen.text = typeof text[0].get("ICP Score");

try {
  await leads.find("recAAAAAAAAAAAAAA");
} catch (error) {
  seen.error = [error.error, error.statusCode];
}
try {
  await leads.create({ Nope: 1 });
} catch (error) {
  seen.unknown = [error.error, error.message];
}
seen.deleted = (await leads.destroy(made.map((record) => record.id))).length;
await single.destroy();
console.log(JSON.stringify(seen));
