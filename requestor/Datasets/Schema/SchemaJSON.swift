import NeuralNetwork
import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension Schema {
    static let version = 1

    /// The one JSON text of this schema: sorted keys, no white space.
    public var canonicalJSON: String { NeuralNetwork.canonicalJSON(self) }

    /// Reads the text that a file carries. Throws `malformed` and the like where it is not one that DeML writes.
    public init(json: String) throws(DeMLError) {
        guard json.utf8.count <= 64 << 20 else {
            throw DeMLError(.tooLarge, "the schema has \(json.utf8.count) bytes", place: Self.key)
        }
        do {
            self = try JSONDecoder().decode(Schema.self, from: Data(json.utf8))
        } catch {
            throw DeMLError(decoding: error, of: "the schema").at(Self.key)
        }
        try check()
    }

    /// The schema of a shard or a weights file; nil where it has none.
    public init?(metadata: [String: String]) throws(DeMLError) {
        guard let json = metadata[Self.key] else { return nil }
        try self.init(json: json)
    }
}

extension Schema: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(
            decoder, "the schema", keys: ["version", "features", "label", "target", "data"])
        let version = try keys.required("version", Int.self)
        guard version == Self.version else {
            throw DeMLError(
                .outOfRange, "the schema has version \(version), but this program knows \(Self.version)",
                hint: "use the DeML that wrote it, or a newer one")
        }
        let label = try keys.optional("label", LabelText.self)
        let target = try keys.optional("target", TargetText.self)
        switch (label, target) {
        case (let label?, nil): self.target = .classes(label.classes, column: label.column)
        case (nil, let target?): self.target = .numbers(target.columns)
        default: throw DeMLError(.malformed, "the schema must have either label or target")
        }
        features = try keys.required("features", FeaturesText.self).features
        source = try keys.optional("data", Source.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(Self.version, forKey: TextKey("version"))
        try container.encode(FeaturesText(features: features), forKey: TextKey("features"))
        switch target {
        case .classes(let names, let column):
            try container.encode(LabelText(classes: names, column: column), forKey: TextKey("label"))
        case .numbers(let columns): try container.encode(TargetText(columns: columns), forKey: TextKey("target"))
        }
        try container.encodeIfPresent(source, forKey: TextKey("data"))
    }

    private struct LabelText: Codable {
        var classes: [String]
        var column: String?

        init(classes: [String], column: String?) {
            self.classes = classes
            self.column = column
        }

        init(from decoder: any Decoder) throws {
            let keys = try StrictContainer(decoder, "label", keys: ["classes", "column"])
            classes = try keys.required("classes", [String].self)
            column = try keys.optional("column", String.self)
        }
    }

    private struct TargetText: Codable {
        var columns: [String]

        init(columns: [String]) { self.columns = columns }

        init(from decoder: any Decoder) throws {
            columns = try StrictContainer(decoder, "target", keys: ["columns"]).required("columns", [String].self)
        }
    }

    private struct FeaturesText: Codable {
        var features: Features

        init(features: Features) { self.features = features }

        init(from decoder: any Decoder) throws {
            let keys = try StrictContainer(
                decoder, "features", keys: ["kind", "columns", "shape", "layout", "vocabulary"])
            let kind = try keys.required("kind", String.self)
            func shape() throws -> [Int] { try keys.required("shape", [Int].self) }
            switch kind {
            case "table": features = .table(try keys.required("columns", [Feature].self))
            case "number": features = .numbers(shape: try shape())
            case "pixel":
                let name = try keys.required("layout", String.self)
                guard let layout = Layout(rawValue: name) else {
                    throw DeMLError(.outOfRange, "the layout \(name.quotedForMessage) is unknown")
                }
                features = .pixels(shape: try shape(), layout: layout)
            case "token":
                features = .tokens(
                    length: try shape().first ?? 0, vocabulary: try keys.optional("vocabulary", [String].self))
            default: throw DeMLError(.outOfRange, "the kind \(kind.quotedForMessage) of features is unknown")
            }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: TextKey.self)
            func kind(_ name: String) throws { try container.encode(name, forKey: TextKey("kind")) }
            switch features {
            case .table(let columns):
                try kind("table")
                try container.encode(columns, forKey: TextKey("columns"))
            case .numbers(let shape):
                try kind("number")
                try container.encode(shape, forKey: TextKey("shape"))
            case .pixels(let shape, let layout):
                try kind("pixel")
                try container.encode(shape, forKey: TextKey("shape"))
                try container.encode(layout.rawValue, forKey: TextKey("layout"))
            case .tokens(let length, let vocabulary):
                try kind("token")
                try container.encode([length], forKey: TextKey("shape"))
                try container.encodeIfPresent(vocabulary, forKey: TextKey("vocabulary"))
            }
        }
    }
}

extension Schema.Feature: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(
            decoder, "a column", keys: ["name", "kind", "mean", "std", "values", "missing"])
        name = try keys.required("name", String.self)
        hasMissing = try keys.optional("missing", Bool.self) ?? false
        let kind = try keys.required("kind", String.self)
        switch kind {
        case "number":
            self.kind = .number(
                mean: try keys.optional("mean", Double.self) ?? 0,
                deviation: try keys.optional("std", Double.self) ?? 1)
        case "category": self.kind = .category(try keys.required("values", [String].self))
        default: throw DeMLError(.outOfRange, "the kind \(kind.quotedForMessage) of a column is unknown")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(name, forKey: TextKey("name"))
        switch kind {
        case .number(let mean, let deviation):
            try container.encode("number", forKey: TextKey("kind"))
            if mean != 0 { try container.encode(mean, forKey: TextKey("mean")) }
            if deviation != 1 { try container.encode(deviation, forKey: TextKey("std")) }
        case .category(let values):
            try container.encode("category", forKey: TextKey("kind"))
            try container.encode(values, forKey: TextKey("values"))
        }
        if hasMissing { try container.encode(true, forKey: TextKey("missing")) }
    }
}

extension Schema.Source: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(
            decoder, "data", keys: ["sha256", "test_fraction", "seed", "validation_fraction", "stride", "by_role"])
        sha256 = try keys.required("sha256", String.self)
        testFraction = try keys.required("test_fraction", Double.self)
        seed = try keys.required("seed", UInt64.self)
        validationFraction = try keys.optional("validation_fraction", Double.self) ?? 0
        stride = try keys.optional("stride", Int.self)
        isByRole = try keys.optional("by_role", Bool.self) ?? false
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(sha256, forKey: TextKey("sha256"))
        try container.encode(testFraction, forKey: TextKey("test_fraction"))
        try container.encode(seed, forKey: TextKey("seed"))
        try container.encodeIfPresent(stride, forKey: TextKey("stride"))
        if isByRole { try container.encode(true, forKey: TextKey("by_role")) }
        if validationFraction != 0 { try container.encode(validationFraction, forKey: TextKey("validation_fraction")) }
    }
}
