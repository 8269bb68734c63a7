import Datasets

/// What the examples are.
public struct DataSettings: SettingGroup {
    /// A dataset: a folder or file, or the name of one that comes with DeML ("mnist"). A run knows its data by its content,
    /// so this may change.
    public var path = "mnist"
    /// The share of the examples that is split off as test set where the data has none, above 0 and below 1.
    public var testFraction = 0.2
    /// The share of the training examples that is set apart for validation: the best model and early stopping are chosen by
    /// it, not by the test set; `nil`: none is.
    public var validationFraction: Double?
    /// The column of a table that holds the labels: its name, or its number from 0 (negative: from the end). Several,
    /// separated by commas, are predicted together. `nil`: found out, or asked for.
    public var labelColumn: String?
    /// Whether the label column holds classes or numbers to predict; `nil`: the model's loss says, else it is found out.
    public var labels: LabelKind?
    /// Whether the first line of a table holds names; `nil`: found out.
    public var header: Bool?
    /// The decimal mark of a table's numbers; `nil`: found out.
    public var decimal: DecimalMark?
    /// Whether the numbers of a table are brought to mean 0 and deviation 1 by the training rows; `nil`: unless the model
    /// does something of the kind by itself.
    public var standardize: Bool?
    /// Texts that stand for missing values, beside an empty field, `?`, `NA`, `NaN` and the like.
    public var missingValues = TextList()
    /// How a text is read: `characters`, `bytes`, or a mapping with `tokens`, `block` and `stride`; `nil`: found out.
    public var text: TextOptions?
    /// Columns that are left out.
    public var ignoreColumns = TextList()
    /// Columns whose numbers are names of categories.
    public var categoryColumns = TextList()

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("data", \Self.path, .free, "text"),
        Setting(
            "test_fraction", \Self.testFraction, .fixed,
            NumberRange(0, 1, includesLower: false, includesUpper: false)),
        Setting(
            "validation_fraction", \Self.validationFraction, .fixed,
            NumberRange(0, 1, includesLower: false, includesUpper: false)),
        Setting("label_column", \Self.labelColumn, .fixed, "text"),
        Setting("labels", \Self.labels, .fixed, "classes or numbers"),
        Setting("header", \Self.header, .fixed, "true or false"),
        Setting("decimal", \Self.decimal, .fixed, "comma or point"),
        Setting("standardize", \Self.standardize, .fixed, "true or false"),
        Setting("missing_values", \Self.missingValues, .fixed, "texts"),
        Setting("text", \Self.text, .fixed, "characters, bytes, or a mapping: {tokens: characters, block: 64}"),
        Setting("ignore_columns", \Self.ignoreColumns, .fixed, "names of columns"),
        Setting("category_columns", \Self.categoryColumns, .fixed, "names of columns"),
    ]

    func rules() -> [ConfigurationProblem] {
        path.isEmpty
            ? [ConfigurationProblem("data", "is missing: name a dataset, for example 'mnist' or a folder")] : []
    }

    /// How the data is to be read, as far as these settings say.
    public var options: DatasetOptions {
        var options = DatasetOptions(testFraction: testFraction, labelColumn: labelColumn)
        options.labels = labels?.labels ?? .automatic
        options.header = header
        options.decimal = decimal?.byte
        options.text = text
        options.missingValues = Set(missingValues.texts)
        options.ignoredColumns = ignoreColumns.texts
        options.categoryColumns = categoryColumns.texts
        return options
    }
}

public enum LabelKind: String, Sendable, Codable, CaseIterable {
    case classes, numbers

    public var labels: DatasetOptions.Labels { self == .classes ? .classes : .numbers }
}

public enum DecimalMark: String, Sendable, Codable, CaseIterable {
    case comma, point

    public var byte: UInt8 { self == .comma ? UInt8(ascii: ",") : UInt8(ascii: ".") }
}

/// Texts in a list, or in one text separated by commas.
public struct TextList: Sendable, Equatable, Codable {
    public var texts: [String]

    public init(_ texts: [String] = []) { self.texts = texts }

    public init(parsing text: String) {
        texts = text.split(separator: ",").map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let texts = try? container.decode([String].self) {
            self.texts = texts
        } else {
            self = TextList(parsing: try container.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(texts)
    }
}
