#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What writes all JSON of DeML: keys sorted, slashes as they are, and a number that JSON has no word for is the text `NaN`,
/// `Infinity` or `-Infinity`. The same value has one text.
package func jsonEncoder(isIndented: Bool = false) -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if isIndented { encoder.outputFormatting.insert(.prettyPrinted) }
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
        positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return encoder
}

/// The one JSON text of a value: sorted keys, no white space.
package func canonicalJSON(_ value: some Encodable) -> String {
    // Our values encode what they hold; nothing in that can fail.
    guard let data = try? jsonEncoder().encode(value) else { preconditionFailure("a value that JSON cannot express") }
    return String(decoding: data, as: UTF8.self)
}
