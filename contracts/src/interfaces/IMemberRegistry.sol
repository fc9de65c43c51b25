// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IQuorum} from "./IQuorum.sol";

/// @notice One institution's entry.
/// @param account Cold key: the only address to which this member's money is paid, and that changes this entry.
/// @param signer Key of the member's node: signs results, statements, and approvals of changes.
/// @param name What people call the institution; 1 to 64 bytes, unique among the active members.
/// @param peerId The node's libp2p PeerID, base58 as ASCII; 1 to 128 bytes, unique among the active members.
/// @param netAddress Where the node listens, "host:port"; 1 to 255 bytes.
struct Member {
    address account;
    address signer;
    string name;
    bytes peerId;
    string netAddress;
}

/// @title Who belongs to the consortium, and by which rules it learns
/// @notice The root of trust of a consortium: whoever knows this address finds everything else. Nobody owns it: what
/// concerns all needs a quorum's signatures over typed data that name `configDigest()`, so that every change voids
/// the approvals collected before it; what concerns one member's entry needs that member's account.
interface IMemberRegistry is IQuorum {
    /* ERRORS */

    /// @notice A roster has 3 to 64 active members.
    error MemberCountOutOfRange(uint256 found);

    /// @notice All 256 roster indices were given out; none is used twice.
    error IndicesExhausted();

    /// @notice The specification of the task has 1 to 16384 bytes.
    error SpecLengthOutOfRange(uint256 found);

    /// @notice The ledger, the vault and the disputes need three different, nonzero addresses.
    error InvalidContracts(address ledger, address vault, address disputes);

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

    /// @notice The PeerID of member `index` has other bytes than ASCII letters and digits.
    error PeerIdNotAlphanumeric(uint256 index);

    /// @notice The network address of member `index` has other bytes than visible ASCII characters.
    error NetAddressNotPrintable(uint256 index);

    /// @notice Member `index` would have the name of another active member.
    error DuplicateName(uint256 index, string name);

    /// @notice Member `index` would have the account of another active member.
    error DuplicateAccount(uint256 index, address account);

    /// @notice Member `index` would have the signer of another active member.
    error DuplicateSigner(uint256 index, address signer);

    /// @notice Member `index` would have the PeerID of another active member.
    error DuplicatePeerId(uint256 index, bytes peerId);

    /// @notice No member has this roster index.
    error UnknownMember(uint256 index);

    /// @notice The member with this roster index has left, or was removed.
    error MemberNotActive(uint256 index);

    /// @notice The signature is not that of the account of member `index`.
    error NotTheAccount(uint256 index, address account);

    /// @notice A member's entry is rotated once in a period; the next time is `allowedAt`, in Unix seconds.
    error RotatedTooRecently(uint256 index, uint256 allowedAt);

    /// @notice No specification waits, or another one.
    error SpecNotProposed(bytes32 proposed, bytes32 found);

    /// @notice The proposed specification can be adopted from `adoptableAt` on, in Unix seconds.
    error SpecDelayNotOver(uint256 adoptableAt);

    /// @notice A successor was named already; it stays.
    error SuccessorNamedAlready(address successor);

    /// @notice A successor is another contract that exists.
    error InvalidSuccessor(address found);

    /* EVENTS */

    /// @notice A member joined under roster index `index`; the other fields are those of `Member`.
    event MemberAdmitted(
        uint256 indexed index, address account, address signer, string name, bytes peerId, string netAddress
    );

    /// @notice A quorum removed a member; its money stays claimable.
    /// @param evidence Digest of what the quorum had before it; zero if nothing.
    event MemberRemoved(uint256 indexed index, bytes32 evidence);

    /// @notice A member left of its own will; its money stays claimable.
    event MemberLeft(uint256 indexed index);

    /// @notice A member changed its keys or its network address; all are as they are from now on.
    event MemberRotated(uint256 indexed index, address account, address signer, bytes peerId, string netAddress);

    /// @notice A quorum allowed what the same transaction does.
    /// @param config `configDigest` of the roster that approved.
    /// @param approved EIP-712 struct hash of what was signed.
    /// @param signers Bit i is set if the member with roster index i signed.
    /// @param signatures EIP-2098 signatures of the signers, by ascending roster index.
    event Approved(bytes32 indexed config, bytes32 approved, uint256 signers, bytes signatures);

    /// @notice A member allowed what the same transaction does to its own entry.
    /// @param config `configDigest` of the roster before it.
    /// @param authorised EIP-712 struct hash of what was done.
    /// @param signature Of the account over it.
    event Authorised(bytes32 indexed config, uint256 indexed index, bytes32 authorised, bytes signature);

    /// @notice A quorum wants the consortium to learn by another specification.
    /// @param number Counts the proposals; the last one holds.
    /// @param specDigest keccak256 of `spec`.
    /// @param adoptableAt When anyone may put it into force, in Unix seconds.
    /// @param spec Canonical JSON of the task.
    event SpecProposed(uint64 indexed number, bytes32 specDigest, uint256 adoptableAt, bytes spec);

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

    /// @notice The consortium goes on at another registry. Nothing here stops, and all money stays claimable.
    event SuccessorNamed(address successor);

    /* ACTIONS */

    /// @notice Adds a member under the next roster index. Anyone may call it: the approvals decide.
    /// @param entry What the quorum approved as `Admission`.
    /// @param signers Bit i is set if the member with roster index i approved.
    /// @param signatures 64 bytes (EIP-2098) for each of them, by ascending roster index.
    function admit(Member calldata entry, uint256 signers, bytes calldata signatures) external;

    /// @notice Removes a member. Anyone may call it: the approvals decide.
    /// @param index Roster index of the member; it is never used again.
    /// @param evidence Digest of what the quorum had before it when it approved `Removal`.
    function remove(uint256 index, bytes32 evidence, uint256 signers, bytes calldata signatures) external;

    /// @notice Gives a member other keys and another network address, at most once a period.
    /// @param index Roster index of the member.
    /// @param account Where its money is paid from now on, what it has not claimed yet included.
    /// @param signer What its node signs with from now on.
    /// @param peerId The PeerID of its node from now on.
    /// @param netAddress Where its node listens from now on.
    /// @param signature Of the member's account as it is now over `Rotation`.
    function rotate(
        uint256 index,
        address account,
        address signer,
        bytes calldata peerId,
        string calldata netAddress,
        bytes calldata signature
    ) external;

    /// @notice Ends a membership at the member's own will.
    /// @param signature Of the member's account over `Exit`.
    function leaveRoster(uint256 index, bytes calldata signature) external;

    /// @notice Announces another specification, in place of any announced before and not adopted.
    /// @param spec What the quorum approved as `SpecChange`.
    function proposeSpec(bytes calldata spec, uint256 signers, bytes calldata signatures) external;

    /// @notice Puts the announced specification into force after the delay. Anyone may call it.
    function adoptSpec(bytes calldata spec) external;

    /// @notice Points, once and for ever, to the registry at which the consortium goes on.
    /// @param successor_ What the quorum approved as `Succession`.
    function nameSuccessor(address successor_, uint256 signers, bytes calldata signatures) external;

    /* VIEWS */

    /// @notice Version of this contract's source.
    function VERSION() external view returns (string memory);

    /// @notice Time between two rotations of one member's entry.
    function ROTATION_PERIOD_SECONDS() external view returns (uint64);

    /// @notice Time between the proposal of a specification and its adoption.
    function SPEC_DELAY_SECONDS() external view returns (uint64);

    /// @notice Number of roster indices that were ever given out; indices are 0 to `memberCount() - 1`.
    function memberCount() external view returns (uint256);

    /// @notice The entry of the member with roster index `index`, the last one it had if it is gone.
    function member(uint256 index) external view returns (Member memory);

    /// @notice Where the money of the member with roster index `index` is paid, whether or not it is still active.
    function accountAt(uint256 index) external view returns (address);

    /// @notice The signer of the member with roster index `index`, the last one it had if it is gone.
    function signerAt(uint256 index) external view returns (address);

    /// @notice Whether the member with roster index `index` is active.
    function isActive(uint256 index) external view returns (bool);

    /// @notice When the member's entry was rotated last, in Unix seconds; zero if never.
    function rotatedAt(uint256 index) external view returns (uint64);

    /// @notice Bit i is set if the member with roster index i is active.
    function activeBitmap() external view returns (uint256);

    /// @notice Counts the changes of roster and specification; 1 since deployment.
    function rosterVersion() external view returns (uint64);

    /// @notice Signatures that suffice: floor(2n/3) + 1 of n active members. Any two quorums share an honest member.
    function quorum() external view returns (uint256);

    /// @notice Binds a signature to chain, contract, roster and task.
    /// @dev keccak256(abi.encode(chainid, this, rosterVersion, signers, quorum, specDigest)), `signers` being an
    /// array with one address per roster index, zero where the member is gone.
    function configDigest() external view returns (bytes32);

    /// @notice keccak256 of the task's specification; its bytes are in the event `SpecAdopted`.
    function specDigest() external view returns (bytes32);

    /// @notice keccak256 of the specification that waits to be adopted; zero if none does.
    function proposedSpec() external view returns (bytes32);

    /// @notice When the specification that waits can be adopted, in Unix seconds.
    function adoptableAt() external view returns (uint64);

    /// @notice How many specifications were proposed; part of what approves the next one.
    function specProposals() external view returns (uint64);

    /// @notice The contract whose code is what `configDigest` is the keccak256 of; see RosterCode.sol.
    function rosterCode() external view returns (address);

    /// @notice Where the roster with this `configDigest` lies, and its version; zeros if it never was one of here.
    function rosterOf(bytes32 config) external view returns (address code, uint64 version);

    /// @notice The RoundLedger of this consortium.
    function ledger() external view returns (address);

    /// @notice The RewardVault of this consortium.
    function vault() external view returns (address);

    /// @notice The Disputes of this consortium.
    function disputes() external view returns (address);

    /// @notice The registry at which the consortium goes on; zero if it goes on here.
    function successor() external view returns (address);

    /// @notice EIP-712 domain separator of approvals: "Mycelia", "1", this chain, this contract.
    function domainSeparator() external view returns (bytes32);
}
