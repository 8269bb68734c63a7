import Tensors

/// Whether the first line of a table holds names, and which.
struct TableHeader {
    var names: [String]
    /// The first line is no example.
    var isPresent: Bool
    /// Columns have names of their own, not just their numbers.
    var isNamed: Bool
    /// Names of the classes by number, as scikit-learn's files have them in the first line; the label is then last.
    var classNames: [String]?
    /// The first column holds the names of rows (R's `write.table`).
    var hasRowNames = false
    var text: String

    /// - Parameters:
    ///   - said: what the person said, if anything.
    ///   - expected: names of columns that the file should have: those of a model, or the label column that was named.
    init(_ rows: [[String]], said: Bool?, expected: [String], missing: Set<String>) throws(DeMLError) {
        guard let first = rows.first else { throw DeMLError(.truncated, "the file has no line") }
        let body = rows.dropFirst()
        let width = body.first?.count ?? first.count
        func isNumber(_ field: String) -> Bool { Self.isNumber(field) }
        func isMissing(_ field: String) -> Bool { field.isEmpty || missing.contains(field) }

        // `150,4,setosa,versicolor,virginica`: examples, features, classes.
        if said == nil, first.count >= 4, let rowCount = Int(first[0]), rowCount > 0, let features = Int(first[1]),
            features == width - 1, first[2...].allSatisfy({ !isNumber($0) && !isMissing($0) }),
            body.allSatisfy({ $0.count == width }), body.first.map({ $0.allSatisfy(isNumber) }) == true
        {
            self.init(
                names: (0..<width).map(String.init), isPresent: true, isNamed: false,
                classNames: Array(first[2...]),
                text: "the first line counts examples and features and names \(first.count - 2) classes (scikit-learn)")
            return
        }
        if first.count == width - 1, said != false, body.allSatisfy({ $0.count == width }) {
            self.init(
                names: ["row"] + Self.unique(first), isPresent: true, isNamed: true, hasRowNames: true,
                text: "yes, one name fewer than columns: the first column holds the names of rows")
            return
        }
        if let other = rows.enumerated().first(where: { $0.element.count != first.count }) {
            throw DeMLError(
                .malformed,
                "line \(other.offset + 1) has \(other.element.count) fields, but the first line \(first.count)",
                hint: "is the separator right, and is every field with a separator in it in quotes?")
        }

        let numbered = (0..<width).map(String.init)
        func without(_ text: String) -> TableHeader {
            TableHeader(names: numbered, isPresent: false, isNamed: false, text: text)
        }
        func with(_ text: String) -> TableHeader {
            var names = first
            // numpy's savetxt writes its header as a comment.
            if names[0].hasPrefix("#") { names[0] = String(names[0].drop { $0 == "#" || $0 == " " }) }
            return TableHeader(
                names: Self.unique(names), isPresent: true, isNamed: names != numbered, text: text)
        }
        switch said {
        case true?:
            self = with("yes (as told)")
            return
        case false?:
            self = without("no (as told)")
            return
        case nil: break
        }
        let known = expected.filter { first.contains($0) }
        if let name = known.first(where: { !isNumber($0) }) {
            self = with("yes (it has \(name.quotedForMessage))")
            return
        }
        // A word above numbers is a name.
        var numbers = 0
        for column in 0..<width {
            let values = body.map { $0[column] }.filter { !isMissing($0) }
            guard !values.isEmpty, values.allSatisfy(isNumber) else { continue }
            numbers += 1
            if !isNumber(first[column]), !isMissing(first[column]) {
                self = with("yes (\(first[column].quotedForMessage) stands above numbers)")
                return
            }
        }
        if first == numbered, width >= 3 {
            self = with("yes: 0, 1, 2 … are taken for column numbers (--header false if they are an example)")
            return
        }
        if body.isEmpty, !first.contains(where: { isNumber($0) || isMissing($0) }) {
            self = with("yes")
            return
        }
        guard numbers == 0, !body.isEmpty, !first.contains(where: { isNumber($0) || isMissing($0) }) else {
            self = without(
                numbers > 0 && first.contains(where: isMissing) ? "no, the first line has a missing value" : "no")
            return
        }
        // Words only: a name does not come again below.
        let comesAgain = (0..<width).contains { column in body.contains { $0[column] == first[column] } }
        if comesAgain {
            self = without("no (a text of the first line comes again)")
        } else if body.count >= 10, Set(first).count == width {
            self = with("yes (no text of the first line comes again below)")
        } else {
            throw DeMLError(
                .usage, "the first line may hold names or an example: there are only words",
                hint: "say --header true or --header false")
        }
    }

    private init(
        names: [String], isPresent: Bool, isNamed: Bool, classNames: [String]? = nil, hasRowNames: Bool = false,
        text: String
    ) {
        self.names = names
        self.isPresent = isPresent
        self.isNamed = isNamed
        self.classNames = classNames
        self.hasRowNames = hasRowNames
        self.text = text
    }

    static func isNumber(_ field: String) -> Bool {
        NumberText.number(field) != nil || NumberText.number(field, decimal: UInt8(ascii: ",")) != nil
    }

    /// Columns without a name are called as pandas calls them, and of equal names the later ones get a number.
    private static func unique(_ names: [String]) -> [String] {
        var seen: Set<String> = []
        return names.enumerated().map { index, name in
            let plain = name.isEmpty ? "Unnamed: \(index)" : name
            var candidate = plain
            var number = 0
            while !seen.insert(candidate).inserted {
                number += 1
                candidate = "\(plain).\(number)"
            }
            return candidate
        }
    }
}
