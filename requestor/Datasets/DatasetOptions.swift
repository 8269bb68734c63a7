import Tensors

/// How a dataset is read: what a person has said, and what is known of the model.
public struct DatasetOptions: Sendable, Equatable {
    /// What is learned.
    public enum Labels: String, Sendable, Codable, CaseIterable {
        /// Classes where the labels are names, or few whole numbers or such that come again and again; numbers to predict
        /// where they are fractions or hardly come again; between those a person is asked.
        case automatic
        case classes
        case numbers
    }

    /// The part of the examples that becomes the test set where the source has none: 0 for no test set.
    ///
    /// The split is that of a permutation drawn with ``splitSeed``; both parts keep the order of the source.
    public var testFraction: Double
    public var splitSeed: UInt64
    /// The label column of a table: its name, or its number from 0 (negative: from the end); several, separated by commas,
    /// are numbers to predict together.
    public var labelColumn: String?
    public var labels: Labels
    /// Limit of each file, stored and expanded.
    public var maximumBytes: Int

    /// Whether the first line of a table holds names; nil: found out.
    public var header: Bool?
    /// The decimal mark of numbers; nil: found out.
    public var decimal: UInt8?
    /// What separates fields; nil: found out.
    public var separator: UInt8?
    /// Texts that stand for missing values, beside an empty field, `?`, `NA`, `NaN` and the like.
    public var missingValues: Set<String> = []
    /// Columns of a table that are left out, by name or number.
    public var ignoredColumns: [String] = []
    /// Columns of a table whose numbers are names of categories.
    public var categoryColumns: [String] = []
    /// A column that says the client; it is no feature.
    public var groupColumn: String?
    /// Numbers of a table are standardised by the statistics of the training rows.
    public var standardizes = false
    /// The model's input, where it is known.
    public var inputShape: [Int]?
    /// How many outputs the model has, where it is known.
    public var outputs: Int?
    /// How a text is read; nil: found out whether it is one.
    public var text: TextOptions?
    /// How many tokens the model knows, where its input is tokens.
    public var tokens: Int?
    /// The schema to obey: that of a model.
    public var schema: Schema?

    public init(
        testFraction: Double = 0.2, splitSeed: UInt64 = 0, labelColumn: String? = nil, labels: Labels = .automatic,
        maximumBytes: Int = 4 << 30
    ) {
        self.testFraction = testFraction
        self.splitSeed = splitSeed
        self.labelColumn = labelColumn
        self.labels = labels
        self.maximumBytes = maximumBytes
    }
}
