import ForeignText

/// Reads the fields of one answer and names what is missing.
struct Fields {
    let json: JSON
    let what: String

    init(_ json: JSON, _ what: String) throws {
        guard case .object = json else {
            throw GolemError(.malformed, "\(what) is not an object", answer: excerpt(Array(json.description.utf8)))
        }
        self.json = json
        self.what = what
    }

    func bad(_ key: String, _ kind: String) -> GolemError {
        GolemError(
            .malformed, "\(what): field `\(key)` is not \(kind)", answer: excerpt(Array(json.description.utf8)),
            hint: "the daemon's version may differ from what this program knows: see `yagna version show`")
    }

    subscript(key: String) -> JSON? {
        json[key].flatMap { $0.isNull ? nil : $0 }
    }

    func string(_ key: String) throws -> String {
        guard let value = json[key]?.line else { throw bad(key, "a string") }
        return value
    }

    func id<Subject>(_ key: String) throws -> Identifier<Subject> {
        guard let value: Identifier<Subject> = json[key]?.id() else { throw bad(key, "the id of a \(Subject.name)") }
        return value
    }

    /// `nil` where there is none, or something that cannot be one: for ids that nothing depends on.
    func optionalID<Subject>(_ key: String) -> Identifier<Subject>? { json[key]?.id() }

    func amount(_ key: String) throws -> Amount {
        guard let value = json[key]?.amount else { throw bad(key, "a decimal") }
        return value
    }

    /// What somebody asks for, and how it was written. What cannot be paid (10⁴⁰ GLM, parts of the smallest unit, no number)
    /// counts as the largest amount there is, so that it is refused like every bill that is too high.
    func billed(_ key: String) -> (amount: Amount, text: String) {
        guard let amount = json[key]?.amount else {
            let text = json[key].map { $0.string ?? $0.description } ?? "nothing"
            return (.largest, ForeignText.line(text, limit: 60))
        }
        return (amount, amount.description)
    }

    func timestamp(_ key: String) throws -> Timestamp {
        guard let value = json[key]?.timestamp else { throw bad(key, "a time") }
        return value
    }

    func int(_ key: String) throws -> Int {
        guard let value = json[key]?.int else { throw bad(key, "a whole number") }
        return value
    }

    func strings(_ key: String) throws -> [String] {
        guard let value = json[key]?.strings else { throw bad(key, "a list of strings") }
        return value
    }
}

extension JSON {
    /// The elements of an answer that is a list.
    func list(_ what: String) throws -> [JSON] {
        guard let items = array else {
            throw GolemError(.malformed, "\(what) is not a list", answer: excerpt(Array(description.utf8)))
        }
        return items
    }

    /// An answer that is a bare string, or an object with it under `key`.
    func text(_ what: String, orUnder key: String) throws -> String {
        guard let value = line ?? self[key]?.line else {
            throw GolemError(.malformed, "\(what) is not a string", answer: excerpt(Array(description.utf8)))
        }
        return value
    }
}
