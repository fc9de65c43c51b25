// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice One institution's entry.
/// @param account Cold key: the only address to which this member's rewards are paid.
/// @param signer Key of the member's node: signs round results and every statement of the protocol.
/// @param name What people call the institution; 1 to 64 bytes, unique in the roster.
/// @param peerId The node's libp2p PeerID, base58 as ASCII; 1 to 128 bytes, unique in the roster.
/// @param netAddress Where the node listens, "host:port"; 1 to 255 bytes.
struct Member {
    address account;
    address signer;
    string name;
    bytes peerId;
    string netAddress;
}

/// @title Who belongs to the consortium, and by which rules it learns
/// @notice The root of trust of a consortium: whoever knows this address finds everything else. Nobody owns it.
interface IMemberRegistry {
    /* ERRORS */

    /// @notice A roster has 3 to 64 members.
    error MemberCountOutOfRange(uint256 found);

    /// @notice The specification of the task has 1 to 16384 bytes.
    error SpecLengthOutOfRange(uint256 found);

    /// @notice The ledger and the vault need two different, nonzero addresses.
    error InvalidContracts(address ledger, address vault);

    /// @notice The account of member `index` is the zero address.
    error ZeroAccount(uint256 index);

    /// @notice The signer of member `index` is the zero address.
    error ZeroSigner(uint256 index);

    /// @notice The name of member `index` is empty or longer than 64 bytes.
    error NameLengthOutOfRange(uint256 index, uint256 found);

    /// @notice The PeerID of member `index` is empty or longer than 128 bytes.
    error PeerIdLengthOutOfRange(uint256 index, uint256 found);

    /// @notice The network address of member `index` is empty or longer than 255 bytes.
    error NetAddressLengthOutOfRange(uint256 index, uint256 found);

    /// @notice Member `index` has the name of an earlier member.
    error DuplicateName(uint256 index, string name);

    /// @notice Member `index` has the account of an earlier member.
    error DuplicateAccount(uint256 index, address account);

    /// @notice Member `index` has the signer of an earlier member.
    error DuplicateSigner(uint256 index, address signer);

    /// @notice Member `index` has the PeerID of an earlier member.
    error DuplicatePeerId(uint256 index, bytes peerId);

    /// @notice No member has this roster index.
    error UnknownMember(uint256 index);

    /* EVENTS */

    /// @notice A member joined under roster index `index`; the other fields are those of `Member`.
    event MemberAdmitted(
        uint256 indexed index, address account, address signer, string name, bytes peerId, string netAddress
    );

    /// @notice The consortium learns by this specification from now on.
    /// @param specDigest keccak256 of `spec`.
    /// @param spec Canonical JSON of the task.
    event SpecAdopted(bytes32 specDigest, bytes spec);

    /// @notice Another roster or specification holds from now on.
    /// @param rosterVersion Counts the changes; 1 is the roster of the deployment.
    /// @param configDigest What members name in everything they sign under this roster; see `configDigest()`.
    /// @param activeBitmap Bit i is set if the member with roster index i is active.
    /// @param quorum Number of members whose signatures suffice.
    event RosterChanged(uint64 indexed rosterVersion, bytes32 configDigest, uint256 activeBitmap, uint256 quorum);

    /* VIEWS */

    /// @notice Version of this contract's source.
    function VERSION() external view returns (string memory);

    /// @notice Number of roster indices that were ever given out; indices are 0 to `memberCount() - 1`.
    function memberCount() external view returns (uint256);

    /// @notice The entry of the member with roster index `index`.
    function member(uint256 index) external view returns (Member memory);

    /// @notice Where the rewards of the member with roster index `index` are paid.
    function accountAt(uint256 index) external view returns (address);

    /// @notice The signer of the member with roster index `index`.
    function signerAt(uint256 index) external view returns (address);

    /// @notice Bit i is set if the member with roster index i is active.
    function activeBitmap() external view returns (uint256);

    /// @notice Counts the changes of roster and specification; 1 since deployment.
    function rosterVersion() external view returns (uint64);

    /// @notice Signatures that suffice: floor(2n/3) + 1 of n active members. Any two quorums share an honest member.
    function quorum() external view returns (uint256);

    /// @notice Binds a signature to chain, contract, roster and task.
    /// @dev keccak256(abi.encode(chainid, this, rosterVersion, signers, quorum, specDigest)), `signers` being an
    /// array with one address per roster index.
    function configDigest() external view returns (bytes32);

    /// @notice keccak256 of the task's specification; its bytes are in the event `SpecAdopted`.
    function specDigest() external view returns (bytes32);

    /// @notice The contract whose code is what `configDigest` is the keccak256 of; see RosterCode.sol.
    function rosterCode() external view returns (address);

    /// @notice The RoundLedger of this consortium.
    function ledger() external view returns (address);

    /// @notice The RewardVault of this consortium.
    function vault() external view returns (address);
}
