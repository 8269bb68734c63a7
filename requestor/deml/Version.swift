/// Of this requestor; the worker says its own.
enum Version {
    static let current = "0.1.0"
}
