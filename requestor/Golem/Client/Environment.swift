import Logging

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension GolemClient {
    /// A client of the daemon that the environment names: `YAGNA_APPKEY`, and `YAGNA_API_URL` or ``DaemonAddress/standard``.
    ///
    /// - Throws: `unauthorized` without a key; `usage` for an address that is none. Nothing is asked of the daemon yet.
    public init(
        environment: [String: String] = ProcessInfo.processInfo.environment, logger: Logger = GolemClient.silent
    ) throws {
        guard let key = environment["YAGNA_APPKEY"], !key.isEmpty else {
            throw GolemError(
                .unauthorized, "YAGNA_APPKEY is not set",
                hint:
                    "export YAGNA_APPKEY=$(yagna app-key create my-app); `yagna app-key list` shows those that there are"
            )
        }
        let url = environment["YAGNA_API_URL"].flatMap { $0.isEmpty ? nil : $0 }
        self.init(address: try url.map { try DaemonAddress($0) } ?? .standard, appKey: key, logger: logger)
    }
}
